"""Evaluation: the paper's six benchmarks, or a folder of one's own pictures, with one command.

metrics.py    what a matte's error is (pure functions)
data.py       the benchmarks' published layouts -> Sample: a picture, its true mattes, trimap, words
protocol.py   how each benchmark is run: guidance, post-processing, prompts; the published numbers
systems.py    who is measured: the model, GrabCut, GrabCut with closed-form matting, predictions made elsewhere
runner.py     runs systems over samples, resumable
journal.py    the append-only file of results that makes it so
report.py     averages, Markdown, JSON; html.py: the page with pictures

Nothing here is imported by the core.
"""
