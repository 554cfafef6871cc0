"""Labels of the arms of `across`."""

LABELS = {"clustered": "k-means", "uniform": "even steps", "random": "random values"}


def label(arm: str, codebook: str | None, bits: int) -> str:
    """Label of an arm, such as `2 bits, after training (k-means)`."""
    if arm == "grey":
        return "grey border, nothing learned"
    of = f"{bits} bit" + ("s" if bits > 1 else "")
    if arm.startswith(("full", "half")):
        kind = "not quantized"
    else:
        kind = "in training" if arm == "qat" else f"after training ({LABELS[str(codebook)]})"
    return f"{of}, {kind}" + (", other learning rate" if arm.endswith("_other") else "")
