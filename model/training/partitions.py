"""What a ZeRO optimizer holds, as whole tensors by parameter name, and back.

DeepSpeed keeps the fp32 weights and the Adam moments in flat vectors that are cut over the ranks:

    stage 0       one vector per parameter, whole on every rank
    stages 1, 2   one vector per optimizer group    | c_attn | c_proj | wte ...  pad |
                  rank r holds part r                 <-- rank 0 --><-- rank 1 -->
    stage 3       one vector per parameter          | wte    pad |
                  and each rank's parts lie in a few long buffers

`describe` reads DeepSpeed's book-keeping into `Vector`s; `gather` and `scatter` then work alike for
every stage and any number of ranks. This is what a checkpoint in one canonical form rests on.

Deviation: DeepSpeed's own accessors (`safe_get_full_fp32_param`, ...) don't reach the moments in
stages 1 and 2 before a step, and in stage 3 leave the module's own weights behind, so the vectors
are read directly. The attribute names are DeepSpeed 0.19's.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, distributed

Kind = Literal["weights", "exp_avg", "exp_avg_sq"]
KINDS: tuple[Kind, ...] = ("weights", "exp_avg", "exp_avg_sq")
_CHUNK = 1 << 25  # elements that each rank sends at a time, 128 MiB


class Piece(NamedTuple):
    """One parameter inside a vector."""

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.start + torch.Size(self.shape).numel()


class Vector(NamedTuple):
    """One flat vector and this rank's part of it.

    Attributes:
        key: the fp32 tensor that the optimizer steps; its state is filed under it.
        start: where this rank's part begins in the flattened `key`.
        n_local: its length; the same on every rank.
        n_ranks: number of ranks that hold a part each, in rank order; 1: held whole.
        pieces: the parameters in the whole vector.
    """

    key: Tensor
    start: int
    n_local: int
    n_ranks: int
    pieces: tuple[Piece, ...]

    def local(self, of: Tensor) -> Tensor:
        """Returns this rank's part of `key` or of a state tensor of the same size."""
        return of.detach().view(-1).narrow(0, self.start, self.n_local)


def describe(optimizer: Any, names: Mapping[Tensor, str], n_ranks: int) -> list[Vector]:
    """Returns the vectors of DeepSpeed's optimizer, in the same order on every rank.

    Args:
        optimizer: `engine.optimizer`: DeepSpeed's wrapper, or the bare optimizer.
        names: parameter -> its name.
        n_ranks: data parallel size.
    """
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):
        return list(_stage_3(optimizer, names, n_ranks))
    if hasattr(optimizer, "single_partition_of_fp32_groups"):
        return list(_stages_1_and_2(optimizer, names, n_ranks))
    if hasattr(optimizer, "fp32_groups"):  # stage 0 with bf16: a list of fp32 copies per group
        groups = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
        pairs = chain.from_iterable(zip(*group, strict=True) for group in groups)
        return [_whole(names[parameter], master) for parameter, master in pairs]
    return [_whole(names[p], p) for group in optimizer.param_groups for p in group["params"]]


def _whole(name: str, key: Tensor) -> Vector:
    return Vector(key, 0, key.numel(), 1, (Piece(name, 0, tuple(key.shape)),))


def _stages_1_and_2(optimizer: Any, names: Mapping[Tensor, str], n_ranks: int) -> Iterator[Vector]:
    groups = zip(
        optimizer.single_partition_of_fp32_groups,
        optimizer.round_robin_bit16_groups,
        optimizer.round_robin_bit16_offsets,
        strict=True,
    )
    for key, parameters, starts in groups:
        pieces = tuple(
            Piece(names[parameter], start, tuple(parameter.shape))
            for parameter, start in zip(parameters, starts, strict=True)
        )
        yield Vector(key, 0, key.numel(), n_ranks, pieces)


def _stage_3(optimizer: Any, names: Mapping[Tensor, str], n_ranks: int) -> Iterator[Vector]:
    groups = zip(optimizer.fp32_partitioned_groups_flat, optimizer.fp16_groups, strict=True)
    for key, parameters in groups:
        start = 0
        for parameter in parameters:
            n_local = parameter.partition_numel()
            piece = Piece(names[parameter], 0, tuple(parameter.ds_shape))
            yield Vector(key, start, n_local, n_ranks, (piece,))
            start += n_local


def gather(vector: Vector, of: Tensor, rank: int, device: torch.device) -> dict[str, Tensor]:
    """Returns the whole fp32 tensors of one vector on the CPU, on rank 0; every rank must call it.

    Args:
        vector: one of `describe`.
        of: `vector.key` or a state tensor of the same size, on any device.
        rank: this process's.
        device: where ranks exchange tensors.
    """
    local = vector.local(of)
    if vector.n_ranks == 1:
        whole = local.float().cpu() if rank == 0 else local
    else:
        whole = _joined(local, vector.n_ranks, rank, device)
    if rank > 0:
        return {}
    return {p.name: whole[p.start : p.stop].view(p.shape).clone() for p in vector.pieces}


def _joined(local: Tensor, n_ranks: int, rank: int, device: torch.device) -> Tensor:
    """Returns all ranks' parts end to end on rank 0, moved bit by bit to spare the device."""
    whole = torch.empty(n_ranks if rank == 0 else 0, local.numel())  # (ranks, n_local)
    for start in range(0, local.numel(), _CHUNK):
        part = local[start : start + _CHUNK].to(device, torch.float32)
        parts = [torch.empty_like(part) for _ in range(n_ranks)]
        distributed.all_gather(parts, part.contiguous())
        if rank == 0:
            whole[:, start : start + _CHUNK] = torch.stack(parts).cpu()
    return whole.view(-1)


def scatter(vector: Vector, of: Tensor, whole: Mapping[str, Tensor], rank: int) -> None:
    """Writes this rank's part of whole tensors into `key` or a state tensor."""
    first = rank * vector.n_local if vector.n_ranks > 1 else 0
    local = vector.local(of).zero_()
    for piece in vector.pieces:
        start, stop = max(piece.start, first), min(piece.stop, first + vector.n_local)
        if start < stop:
            part = whole[piece.name].reshape(-1)[start - piece.start : stop - piece.start]
            local[start - first : stop - first] = part.to(local.device)
