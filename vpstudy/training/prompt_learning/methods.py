"""Registry of prompters: the cells of the qprompt study. Free of torch, for the command line."""

METHODS = {
    "zero_shot": "hand-written",  # in one template and in all, and quantized without any training
    "references": "on picture features",  # linear probe and Tip-Adapter, of base classes only
    "coop": "CoOp",  # in full, and quantized after training
    "cocoop": "CoCoOp",
    "kgcoop": "KgCoOp",
    "prograd": "ProGrad",
    "qcoop": "QCoOp",  # trained through its codebook
    # The controls that the paper lacks.
    "quantizers": "other codebooks",  # uniform, random, not normalised, never or always fitted anew
    "noise": "CoOp with noise",  # anew at each step, or drawn once and kept
    "regularised": "CoOp, regularised",  # stopped early, or with a strong weight decay
}
QUANTIZED_CONTROLS = ("uniform", "random", "raw", "never", "always")
EARLY, DECAY, MATCHED = "early", "decay", "matched"
