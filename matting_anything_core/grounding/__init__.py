"""Words to boxes: open-vocabulary detection with Grounding DINO (the paper's text prompts, section 3.3 and 4.1).

    grounding = load_grounding("grounding-dino-tiny")                       # extra `text`; fetched beforehand
    grounding.find(image, "the dog")                                        # [Match(phrase, score, box)]
    ground([Prompt(text="the dog")], image, grounding)                      # prompts with boxes, for a model

text.py turns words into phrases and tokens, load.py reads the network from its files, detect.py runs it and picks the
matches, prompts.py puts the boxes into prompts. The network is transformers' (5, and 4 from 4.57 on; both are tried);
everything around it is here, so that only its forward pass depends on transformers' interface.
"""

from __future__ import annotations

from .detect import BOX_THRESHOLD, NMS, TEXT_THRESHOLD, Grounding, Match, Search, load_grounding
from .prompts import Grounded, ground
from .text import phrases_of

__all__ = [
    "BOX_THRESHOLD", "NMS", "TEXT_THRESHOLD", "Grounded", "Grounding", "Match", "Search", "ground",
    "load_grounding", "phrases_of",
]
