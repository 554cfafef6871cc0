"""Registry of prompters: the cells of the qprompt study. Free of torch, for the command line."""

METHODS = {
    "zero_shot": "zero-shot, hand-written",
    "references": "linear probe and Tip-Adapter",
    "coop": "CoOp",
    "cocoop": "CoCoOp",
    "kgcoop": "KgCoOp",
    "prograd": "ProGrad",
    "qcoop": "QCoOp",
    "quantizers": "other codebooks",
    "noise": "noise",
}
