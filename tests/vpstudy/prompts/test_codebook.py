"""Codebooks: k-means against scikit-learn, errors against closed forms, packed bytes against counting."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from vpstudy.prompts import codebook
from vpstudy.prompts.codebook import divergence, fit, nearest, pack, shares, standardise, stored_bytes

NORMAL = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_clusters_are_as_good_as_scikit_learns(bits):
    values = NORMAL[:2000] ** 3 / 10 + NORMAL[2000:4000]  # neither normal nor even
    book = fit(values, bits)
    ours = ((values - book[nearest(values, book)]) ** 2).sum().item()
    theirs = KMeans(2**bits, n_init=10, random_state=0).fit(values.numpy()[:, None]).inertia_
    assert ours <= theirs * 1.02
    fixed = KMeans(2**bits, init=book.numpy()[:, None], n_init=1).fit(values.numpy()[:, None])
    np.testing.assert_allclose(np.sort(fixed.cluster_centers_.ravel()), book.numpy(), atol=1e-6)  # converged


@pytest.mark.parametrize(("bits", "error"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_the_error_on_normal_values_is_that_of_the_best_quantizer(bits, error):
    """Mean squared errors of Max (1960), table 1."""
    book = fit(NORMAL, bits)
    measured = ((NORMAL - book[nearest(NORMAL, book)]) ** 2).mean().item()
    assert measured == pytest.approx(error, rel=0.05)


def test_one_bit_on_normal_values_is_the_mean_of_each_half():
    book = fit(NORMAL, 1)
    assert book.tolist() == pytest.approx([-((2 / np.pi) ** 0.5), (2 / np.pi) ** 0.5], abs=0.02)


@pytest.mark.parametrize("scheme", codebook.SCHEMES)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_codes_are_the_nearest_by_brute_force(scheme, bits):
    values = NORMAL[:300].view(3, 100)
    book = fit(values, bits, scheme, seed=4)
    assert (book.diff() >= 0).all()
    assert len(book) == 2**bits
    brute = (values[..., None] - book).abs().argmin(-1)
    assert torch.equal(book[nearest(values, book)], book[brute])


def test_uniform_steps_are_even_and_reach_the_ends():
    book = fit(torch.tensor([-1.0, 0.2, 3.0]), 2, "uniform")
    assert book.tolist() == pytest.approx([-1, 1 / 3, 5 / 3, 3])


def test_fewer_values_than_clusters():
    values = torch.tensor([1.0, 2.0, 2.0])
    book = fit(values, 3)
    assert torch.equal(book[nearest(values, book)], values)


def test_standardised_values():
    scaled, mean, deviation = standardise(NORMAL * 3 + 5)
    assert (scaled.mean().item(), scaled.std(correction=0).item()) == pytest.approx((0, 1))
    torch.testing.assert_close(scaled * deviation + mean, NORMAL * 3 + 5)
    assert standardise(torch.ones(4))[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("bits", range(1, 9))
def test_packed_tensors_come_back_and_take_the_bytes_that_are_claimed(bits):
    draw = torch.Generator().manual_seed(bits)
    codes = torch.randint(2**bits, (3, 37), generator=draw)
    book = torch.randn(2**bits, generator=draw).half().float()
    packed = pack(codes, book)
    assert torch.equal(packed.unpacked(), book[codes])
    assert packed.bits == bits
    assert packed.bytes == stored_bytes(111, bits) == -(-111 * bits // 8) + 2 * 2**bits
    assert packed.codes.numel() * packed.codes.element_size() + packed.book.numel() * 2 == packed.bytes


def test_the_papers_sizes():
    """4 tokens of width 512; a deep prompt of 3,548,160 values keeps a quarter at 4 bits."""
    n = 4 * 512
    assert stored_bytes(n, 16) == 4096
    assert [stored_bytes(n, bits) for bits in (1, 2, 4)] == [260, 520, 1056]
    assert stored_bytes(512, 8) == 1024  # the codebook takes what the codes save
    assert stored_bytes(3_548_160, 4) / stored_bytes(3_548_160, 16) == pytest.approx(0.25, abs=1e-4)


def test_shares_and_their_divergence():
    old, new = shares(torch.tensor([0, 0, 1, 1]), 1), shares(torch.tensor([0, 1, 1, 1]), 1)
    assert new.tolist() == [0.25, 0.75]
    assert divergence(old, old) == pytest.approx(0)
    assert divergence(old, new) == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5), abs=1e-5)
    assert np.isfinite(divergence(shares(torch.tensor([0, 0]), 1), new))  # an empty bin


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: fit(NORMAL, 0), "bits is 0; a codebook has 1 to 8"),
        (lambda: fit(NORMAL, 9), "bits is 9"),
        (lambda: fit(NORMAL, 1, "median"), "scheme 'median' is unknown; allowed: clustered"),
        (lambda: fit(torch.tensor([1.0, torch.nan]), 1), "all of them finite"),
        (lambda: pack(torch.tensor([2]), torch.zeros(2)), "codes lie in 0 … 1; these run from 2 to 2"),
        (lambda: pack(torch.tensor([0]), torch.zeros(3)), "this one has 3"),
    ],
)
def test_bad_values_are_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
