"""Training: the paper's recipe at scale, and the bundled small model. The core never imports it."""
