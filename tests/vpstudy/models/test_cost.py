"""The cost of a forward pass, against a count by hand."""

from torch import nn

from vpstudy.models.cost import macs


class Tiny(nn.Module):
    """A convolution and a linear layer, with the interface of a backbone."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(4 * 64, 5, bias=False)
        )

    def forward(self, pictures):
        return self.model(pictures)


def test_macs_are_those_of_a_count_by_hand():
    assert macs(Tiny(), 8) == 64 * 4 * 3 * 9 + 4 * 64 * 5
