"""Batches of several processes are the parts of those of one."""

from itertools import chain

import pytest
import torch

from vae_lab.data.batches import Batches
from vae_lab.data.binarization import scale


def batches(n: int, size: int, shuffled: bool, **options) -> list[list[int]]:
    order = (lambda: torch.randperm(n, generator=torch.Generator().manual_seed(0))) if shuffled else None
    images = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    found = Batches(images, torch.arange(n), size, scale, order, **options)
    taken = [labels.tolist() for _, labels in found]
    assert len(taken) == len(found)
    return taken


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize(("n", "size", "processes"), [(20, 5, 2), (23, 10, 3), (30, 10, 4), (7, 10, 2)])
def test_the_parts_cover_the_whole_without_overlap(n, size, processes, shuffled):
    whole = batches(n, size, shuffled)
    parts = [batches(n, size, shuffled, part=(rank, processes)) for rank in range(processes)]
    assert [sorted(chain(*batch)) for batch in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]
    assert all(part for part in parts)


def test_in_training_no_process_has_an_empty_batch():
    parts = [batches(21, 10, True, part=(rank, 2)) for rank in range(2)]
    assert [len(batch) for part in parts for batch in part] == [5, 5, 5, 5]


def test_in_evaluation_no_image_is_left_out():
    parts = [batches(21, 10, False, part=(rank, 2)) for rank in range(2)]
    assert [len(batch) for part in parts for batch in part] == [5, 5, 1, 5, 5, 0]
