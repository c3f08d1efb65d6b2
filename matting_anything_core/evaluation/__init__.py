"""Evaluation: the paper's six benchmarks, or a folder of one's own pictures; corrections click by click; steadiness.

metrics.py    what a matte's error is (pure functions)
data.py       the benchmarks' published layouts -> Sample: a picture, its true mattes, trimap, words
protocol.py   how each benchmark is run: guidance, post-processing, prompts; the published numbers
systems.py    who is measured: the model, GrabCut, GrabCut with closed-form matting, predictions made elsewhere
runner.py     runs systems over samples, resumable
journal.py    the append-only file of results that makes it so
report.py     averages, Markdown, JSON; page.py: the page with pictures

tasks.py      objects of a folder, measured one after another and noted; what the two below share
clicks.py     the interactive protocol: where the next click goes, what is measured after it (pure functions)
              clicks_systems.py, clicks_runner.py, clicks_strip.py, clicks_report.py, clicks_page.py, chart.py
steadiness.py changes that should not matter, and how far results agree; steadiness_report.py

Nothing here is imported by the core.
"""
