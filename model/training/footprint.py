"""Memory of one rank, from the shape of the network and how it is trained: formulas, no trial.

    held        weights + gradients + optimizer        by ZeRO stage and number of ranks
    at the peak + bucket + gathered                    what DeepSpeed moves things in
                + activations + loss                   by micro-batch
                or, if it is more, + step              fp32 gradients beside all that is held

Psi is the number of parameters, N of ranks, w bytes of a weight (bf16: 2), n = B T tokens of a
micro-batch, C n_embd, V entries of the vocabulary.

Paper: Rajbhandari et al. 2020, "ZeRO", sections 3.1 and 5: 2 Psi for weights, 2 Psi for gradients,
12 Psi for Adam in fp32, of which stage 1 cuts the last, stage 2 the second too, and stage 3 all.
Paper: Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models",
section 4.1: 34 n C bytes per block, besides attention's scores.
Deviation: gradients are fp32 from stage 2 on, because `engine.deepspeed_json` sums them so; fp32
weights have an fp32 copy in the optimizer in stages 1 to 3, and none in stage 0. Scores are not
counted: the fused kernel never holds them (on a CPU, bf16 in short contexts takes the plain one,
see `device.attention_kernel`). Tests compare the held bytes with the tensors that DeepSpeed
allocates, and the activations with the tensors that autograd saves.

Not counted: the device's context (about half a GiB on a GPU), the allocator's waste, libraries'
workspaces. torch.compile recomputes some activations and needs less.
"""

from typing import NamedTuple

import torch

from model.config import ModelConfig
from model.gpt import GPT, LOSS_CHUNK

MASTER = 4  # bytes of an fp32 weight
MOMENTS = 8  # and of its two moments
BUCKET = 200_000_000  # elements, as in engine.deepspeed_json
LIVE = 1_000_000_000  # DeepSpeed's stage3_max_live_parameters, its default


class Parameters(NamedTuple):
    """Numbers of parameters."""

    total: int
    tables: int  # wte and wpe
    positions: int  # wpe


class Batch(NamedTuple):
    """What one forward pass holds.

    Attributes:
        micro_batch_size: sequences, B.
        weight_bytes: bytes of a weight and of an activation, w.
    """

    micro_batch_size: int
    weight_bytes: int


class Footprint(NamedTuple):
    """Bytes of one rank.

    Attributes:
        weights: what the module computes with.
        gradients: summed over the micro-batches.
        optimizer: fp32 weights and Adam's moments.
        bucket: DeepSpeed's buffer for reducing gradients.
        gathered: whole weights that stage 3 keeps for a while.
        step: fp32 gradients that the optimizer's step makes.
        host: bytes in the host's memory instead.
    """

    weights: int
    gradients: int
    optimizer: int
    bucket: int
    gathered: int
    step: int
    host: int

    @property
    def held(self) -> int:
        """Returns what is there from step to step, gradients among it."""
        return self.weights + self.gradients + self.optimizer

    def peak(self, working: int) -> int:
        """Returns the most that is held at a time.

        Args:
            working: bytes of activations and loss.
        """
        return self.held + max(self.bucket + self.gathered + working, self.step)


def parameters(shape: ModelConfig) -> Parameters:
    """Counts the parameters of the network as it is built, without allocating them."""
    with torch.device("meta"):
        model = GPT(shape)
    total = sum(parameter.numel() for parameter in model.parameters())
    positions = model.wpe.weight.numel()
    return Parameters(total, positions + model.wte.weight.numel(), positions)


def states(psi: int, stage: int, n_ranks: int, weight_bytes: int, offload: str) -> Footprint:
    """Returns the bytes of weights, gradients and optimizer on each rank.

    Args:
        psi: number of parameters.
        stage: ZeRO stage.
        n_ranks: number of ranks.
        weight_bytes: 2 (bf16) or 4 (fp32).
        offload: `none`; `optimizer` puts optimizer and its gradients into the host's memory (Ren et
            al. 2021, "ZeRO-Offload", section 4.1), `parameters` the weights too.

    >>> paper = states(7_500_000_000, 1, 64, 2, "none")
    >>> round(paper.held / 1e9, 1)  # ZeRO, figure 1
    31.4
    """
    cut = n_ranks if stage >= 1 else 1
    has_master = stage >= 1 or weight_bytes < MASTER
    weights = psi * weight_bytes // (cut if stage == 3 else 1)
    gradients = psi * MASTER // cut if stage >= 2 else psi * weight_bytes
    optimizer = psi * (MOMENTS + MASTER * has_master) // cut
    bucket = min(psi, BUCKET) * weight_bytes if stage >= 1 or n_ranks > 1 else 0
    gathered = min(psi, LIVE) * weight_bytes if stage == 3 and n_ranks > 1 else 0
    step = psi * MASTER // cut if has_master else 0
    if offload == "none":
        return Footprint(weights, gradients, optimizer, bucket, gathered, step, 0)
    away = optimizer + psi * MASTER // cut
    kept = 0 if stage >= 2 else gradients
    if offload == "optimizer":
        return Footprint(weights, kept, 0, bucket, gathered, 0, away)
    return Footprint(0, kept, 0, bucket, gathered, 0, away + weights)


def block_activations(shape: ModelConfig, batch: Batch) -> int:
    """Returns the bytes that one block keeps for its backward pass.

    16 n C weights' worth: both norms' inputs (2) and outputs (2), which the matrices read; queries,
    keys and values (3), attention's output (1), the wide layer before and after GELU (8). Besides,
    fp32: the norms' means and deviations (4 n) and attention's log-sums (n n_head). Dropout keeps a
    byte for each of 2 n C.
    """
    n = batch.micro_batch_size * shape.n_ctx
    masks = 2 * shape.n_embd if shape.dropout else 0
    statistics = 4 * batch.weight_bytes + 4 * shape.n_head
    return n * (16 * batch.weight_bytes * shape.n_embd + masks + statistics)


def activations(shape: ModelConfig, batch: Batch, *, checkpointing: bool) -> int:
    """Returns the bytes between forward and backward pass, without the loss.

    Args:
        shape: the network.
        batch: the forward pass.
        checkpointing: only each block's input is kept, and one block at a time is done again.
    """
    block = block_activations(shape, batch)
    state = batch.micro_batch_size * shape.n_ctx * shape.n_embd * batch.weight_bytes
    inside = shape.n_layer * state + block if checkpointing else shape.n_layer * block
    return inside + 2 * state  # the final norm's input and output


def loss_memory(shape: ModelConfig, batch: Batch) -> int:
    """Returns the bytes of the loss: a chunk of logits, the gradients of table and states."""
    n = batch.micro_batch_size * shape.n_ctx
    logits = min(n, LOSS_CHUNK) * shape.n_vocab * batch.weight_bytes
    table = shape.n_vocab * shape.n_embd * (batch.weight_bytes + MASTER * (n > LOSS_CHUNK))
    return logits + table + n * shape.n_embd * batch.weight_bytes
