"""GPT-1 and GPT-2: the whole network.

    idx ──> wte + wpe ──> drop ──> h.0 ... h.{n_layer - 1} ──> ln_f (pre only) ──> wte^T ──> logits

    pre  (GPT-2):  x = x + attn(ln_1(x));   x = x + mlp(ln_2(x))
    post (GPT-1):  x = ln_1(x + attn(x));   x = ln_2(x + mlp(x))

Tensor legend: B batch, T tokens, P tokens in the cache, C n_embd, H heads, D head size (C / H),
V vocabulary.

Decisions
- Parameter names are those of OpenAI's GPT-2 (`wte wpe h.N.ln_1 attn.c_attn ...`); weights are
  stored as `nn.Linear` has them, (out, in). `model.hf` knows the transposed layout.
- The output matrix is `wte` itself (tied), so it is no parameter of its own.
- Initial values: N(0, .02), as in both papers' code; biases 0, gains 1. For `pre`, the two matrices
  that write to the residual stream are scaled by 1/sqrt(2 n_layer) (Paper: GPT-2, section 2.3;
  absent from the released code) and `wpe` is N(0, .01) (openai/gpt-2, src/model.py;
  Deviation: transformers uses .02). For `post`, `wpe` is N(0, .02) and nothing is scaled
  (openai/finetune-transformer-lm).
- `loss` never holds all logits: it walks the positions in chunks and computes the gradient with
  the value, which is faster on a CPU and needs (chunk, V) instead of (B T, V) floats.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from model.config import ModelConfig

IGNORE = -1  # a target that is not scored
INIT_STD = 0.02
WPE_STD_PRE = 0.01
NORM_EPS = 1e-5
LOSS_CHUNK = 1024  # positions per chunk
_BLOCK = 8192  # entries of the vocabulary whose gradient one product on a CPU gives


class KVCache:
    """Keys and values of the tokens that a model has already read, for every block.

    Attributes:
        length: number of tokens held, P.
        keys: (L, B, H, W, D), of which the first P columns are in use.
        values: the same.
        mask: (T, P + T) of the tokens that are being read, or None if implied.
    """

    def __init__(self, config: ModelConfig, batch_size: int, like: Tensor, width: int) -> None:
        """Allocates an empty cache with the device and dtype of `like`, for `width` tokens."""
        shape = (config.n_layer, batch_size, config.n_head, width)
        self.keys = like.new_empty(*shape, config.n_embd // config.n_head)
        self.values = torch.empty_like(self.keys)
        self._n_ctx = config.n_ctx
        self.length = 0
        self.mask: Tensor | None = None

    def begin(self, n_new: int) -> Tensor:
        """Makes ready for reading T tokens; returns their (T,) positions.

        Raises:
            ValueError: the tokens do not fit in the context.
        """
        end = self.length + n_new
        _check_fits(end, self._n_ctx)
        device = self.keys.device
        self.mask = None
        if n_new > 1 and self.length:
            self.mask = torch.ones(n_new, end, dtype=torch.bool, device=device).tril(self.length)
        return torch.arange(self.length, end, device=device)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores one block's new (B, H, T, D) keys and values; returns all (B, H, P + T, D)."""
        end = self.length + k.size(2)
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def finish(self, n_new: int) -> None:
        """Counts tokens that every block has read."""
        self.length += n_new

    def repeat(self, n: int, n_new: int) -> "KVCache":
        """Returns a copy in which each row stands `n` times in a row, with room for more tokens.

        Args:
            n: Copies of each row.
            n_new: Tokens that will be read yet; columns beyond them are not copied.
        """
        width = self.length + n_new
        copy = object.__new__(KVCache)
        copy.keys = self.keys[:, :, :, :width].repeat_interleave(n, dim=1)
        copy.values = self.values[:, :, :, :width].repeat_interleave(n, dim=1)
        copy._n_ctx, copy.length, copy.mask = self._n_ctx, self.length, None
        return copy


class RaggedCache(KVCache):
    """The same for rows that have read different numbers of tokens.

        row 0   k k k k k · ·      · padding's, or unwritten: masked for this row, and overwritten
        row 1   k k k k k k k        by its own next tokens
        row 2   k k · · · · ·

    Attributes:
        lengths: (B,) int64 number of tokens that each row holds. Who reads padded rows takes the
            padding off again.
    """

    def __init__(self, config: ModelConfig, batch_size: int, like: Tensor, width: int) -> None:
        """Allocates an empty cache as `KVCache` does; padding needs room, too."""
        super().__init__(config, batch_size, like, width)
        self.keys.zero_()  # masked values take part in a product with 0
        self.values.zero_()
        self.lengths = torch.zeros(batch_size, dtype=torch.int64, device=like.device)
        self._places = self.lengths.unsqueeze(1)

    def begin(self, n_new: int) -> Tensor:
        """Makes ready for reading T tokens per row; returns their (B, T) positions."""
        device = self.keys.device
        self._places = self.lengths.unsqueeze(1) + torch.arange(n_new, device=device)  # (B, T)
        self.length = int(self._places.max()) + 1
        columns = torch.arange(self.length, device=device)
        self.mask = (columns <= self._places.unsqueeze(2)).unsqueeze(1)  # (B, 1, T, P + T)
        return self._places.clamp(max=self._n_ctx - 1)  # beyond it, there is padding only

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stores one block's new keys and values, each row's at its own place."""
        rows = torch.arange(len(self.lengths), device=k.device).unsqueeze(1)  # (B, 1)
        self.keys[layer][rows, :, self._places] = k.transpose(1, 2)  # (B, T, H, D)
        self.values[layer][rows, :, self._places] = v.transpose(1, 2)
        end = self.length
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def finish(self, n_new: int) -> None:
        """Counts tokens, padding included, that every block has read."""
        self.lengths = self.lengths + n_new

    def fill(self, rows: Tensor, source: KVCache, lengths: Tensor) -> None:
        """Makes rows begin with the first tokens of a cache's rows, or of its only one.

        Args:
            rows: (R,) which.
            source: A cache of R rows or one.
            lengths: (R,) how many tokens each takes over.
        """
        n = int(lengths.max())
        self.keys[:, rows, :, :n] = source.keys[:, :, :, :n].expand(-1, len(rows), -1, -1, -1)
        self.values[:, rows, :, :n] = source.values[:, :, :, :n].expand(-1, len(rows), -1, -1, -1)
        self.lengths[rows] = lengths


def _check_fits(n_tokens: int, n_ctx: int) -> None:
    if n_tokens > n_ctx:
        raise ValueError(f"{n_tokens} tokens; the context holds n_ctx = {n_ctx}")


Layer = tuple[KVCache, int]  # one block's part of a cache


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns `x @ weight^T + bias`: (..., out) of (..., in), (out, in) and (out,).

    In inference mode, fp32 on a CPU goes to oneDNN, whose kernels are made for every maker's
    processors. torch asks MKL, which on an AMD EPYC is slower for all but the narrowest products:
    for (n, 256) by (256, 8192) and two threads, 31 to 64 GFLOP/s at n = 1, 156 to 384 at n = 512.
    """
    if torch.is_inference_mode_enabled() and _suits_onednn(x):
        product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001, torch names it nowhere else
        return cast("Tensor", product(x, weight, bias, "none", [], ""))
    return functional.linear(x, weight, bias)


def _suits_onednn(x: Tensor) -> bool:
    is_fp32 = x.device.type == "cpu" and x.dtype == torch.float32
    return is_fp32 and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


class Linear(nn.Linear):
    """torch's, with the product above."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., in) to (..., out)."""
        return linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Multi-head causal self-attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = Linear(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, past: Layer | None, wanted: Tensor | None = None) -> Tensor:
        """Maps (B, T, C) to (B, T, C), or to (N, C) for N wanted positions."""
        qkv = self.c_attn(x).unflatten(2, (3, self.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if past is not None:
            cache, layer = past
            k, v = cache.append(layer, k, v)  # (B, H, P + T, D)
        mask = None if past is None else past[0].mask
        y = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and q.size(2) == k.size(2),
        )  # (B, H, T, D)
        y = _only(y.transpose(1, 2).flatten(2), wanted)  # (B, T, C) or (N, C)
        return functional.dropout(self.c_proj(y), self.dropout, self.training)


class MLP(nn.Module):
    """The feed-forward sub-block: 4 C wide, GELU in its tanh form."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, C) to (B, T, C)."""
        y = functional.gelu(self.c_fc(x), approximate="tanh")  # (B, T, 4C)
        return functional.dropout(self.c_proj(y), self.dropout, self.training)


class Block(nn.Module):
    """One transformer block, normalised before (GPT-2) or after (GPT-1) each sub-block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_first = config.norm == "pre"
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=NORM_EPS)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=NORM_EPS)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, past: Layer | None, wanted: Tensor | None = None) -> Tensor:
        """Maps (B, T, C) to (B, T, C), or to (N, C) for N wanted positions."""
        if self.norm_first:
            x = _only(x, wanted) + self.attn(self.ln_1(x), past, wanted)
            x = x + self.mlp(self.ln_2(x))
        else:
            x = self.ln_1(_only(x, wanted) + self.attn(x, past, wanted))
            x = self.ln_2(x + self.mlp(x))
        return x


def _only(x: Tensor, wanted: Tensor | None) -> Tensor:
    """Returns all (B, T, C) states, or the (N, C) of a (B, T) choice."""
    return x if wanted is None else x[wanted]


class GPT(nn.Module):
    """A decoder-only language model.

    Attributes:
        activation_checkpointing: whether training keeps only the blocks' inputs and the backward
            pass computes the rest again, with the same dropout: a third more work, and the
            activations of one block instead of n_layer.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.n_vocab, config.n_embd)
        self.wpe = nn.Embedding(config.n_ctx, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=NORM_EPS) if config.norm == "pre" else None
        self.activation_checkpointing = False

    def forward(self, idx: Tensor, *, past: KVCache | None = None) -> Tensor:
        """Returns the logits of the next token at every position.

        Args:
            idx: (B, T) int64 token ids.
            past: what was read before `idx`; grows by T tokens.

        Returns:
            (B, T, V) logits.
        """
        return linear(self.hidden(idx, past=past), self.wte.weight)

    def hidden(
        self, idx: Tensor, *, past: KVCache | None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """Returns the (B, T, C) states that the output matrix is applied to.

        Args:
            idx: (B, T) int64 token ids.
            past: what was read before `idx`; grows by T tokens.
            wanted: (B, T) bool; the result is the (N, C) states of these positions, and the last
                block computes no others.

        Raises:
            ValueError: the tokens do not fit in the context.
        """
        n_new = idx.size(1)
        if past is None:
            _check_fits(n_new, self.config.n_ctx)
            places = self.wpe.weight[:n_new]  # (T, C)
        else:
            places = self.wpe(past.begin(n_new))  # (T, C) or (B, T, C)
        x = self.wte(idx) + places  # (B, T, C)
        x = functional.dropout(x, self.config.dropout, self.training)
        again = self.activation_checkpointing and self.training and past is None
        for layer, block in enumerate(self.h):
            if again:
                x = checkpoint(block, x, None, use_reentrant=False)
            else:
                chosen = wanted if layer == len(self.h) - 1 else None
                x = block(x, None if past is None else (past, layer), chosen)
        if past is not None:
            past.finish(n_new)
        return cast("Tensor", x if self.ln_f is None else self.ln_f(x))

    def loss(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean cross-entropy in nats per scored token.

        Args:
            idx: (B, T) int64 token ids.
            targets: (B, T) int64; the id that follows each position, or `IGNORE`.
        """
        x = self.hidden(idx).flatten(0, 1)  # (B T, C)
        scored = (targets != IGNORE).flatten()
        total = self.summed_loss(x, targets.flatten(), scored.float())
        return total / scored.sum().clamp(min=1)

    def summed_loss(self, x: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Returns the weighted sum of cross-entropies in nats.

        Args:
            x: (N, C) states, as `hidden` gives them.
            targets: (N,) int64; the id that follows each, or `IGNORE`.
            weights: (N,) fp32; 0 where the target is `IGNORE`.
        """
        sum_loss = ChunkedCrossEntropy.apply if torch.is_grad_enabled() else _summed_loss
        return cast("Tensor", sum_loss(x, self.wte.weight, targets, weights))

    def cache(self, batch_size: int) -> KVCache:
        """Returns an empty cache for `batch_size` rows."""
        return KVCache(self.config, batch_size, self.wte.weight, self.config.n_ctx)

    def ragged_cache(self, batch_size: int, width: int) -> RaggedCache:
        """Returns an empty cache for rows of different lengths, `width` tokens with padding."""
        return RaggedCache(self.config, batch_size, self.wte.weight, width)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Weighted sum of the cross-entropies of `x @ weight^T`, in nats, chunk by chunk.

    The gradient is computed beside the value: the loss is the end of the graph, so what comes back
    to it is one number, which scales what is stored. Sums over the vocabulary and of the losses are
    fp32 whatever `x` is; logits, their gradient and what weights it keep its dtype.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Takes (N, C) states, the (V, C) matrix, (N,) targets and their (N,) fp32 weights."""
        total = x.new_zeros((), dtype=torch.float32)
        grad_x = torch.empty_like(x)
        add = len(x) > LOSS_CHUNK
        grad_w = torch.zeros_like(weight, dtype=torch.float32) if add else torch.empty_like(weight)
        scales = weights.to(x.dtype).unsqueeze(1)  # (N, 1)
        for start in range(0, max(len(x), 1), LOSS_CHUNK):
            here = slice(start, start + LOSS_CHUNK)
            grad = functional.linear(x[here], weight)  # (n, V): logits, which become their gradient
            total += _cross_entropy(grad, x[here], weight, targets[here], weights[here])
            # What is not scored is cleared here, where it is C wide, and not in `grad`.
            torch.mul(grad @ weight, scales[here], out=grad_x[here])
            _product(grad_w, grad, x[here] * scales[here], add=add)
        ctx.save_for_backward(grad_x, grad_w.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Scales the stored gradients."""
        grad_x, grad_w = ctx.saved_tensors
        return grad_x * scale.to(grad_x.dtype), grad_w * scale.to(grad_w.dtype), None, None


def _product(out: Tensor, a: Tensor, b: Tensor, *, add: bool) -> None:
    """Writes `a^T @ b`, of (n, V) and (n, C), into (V, C) `out`, or adds it to what is there.

    On a CPU by blocks of V: torch's bf16 product for all of GPT-2's 50,257 entries takes 1.4 to 1.6
    times as long as seven products, whose sums stay in the cache (AMD EPYC, C of 384 and 768).
    """
    rows = len(out) if out.is_cuda else _BLOCK
    for part, columns in zip(torch.split(out, rows), torch.split(a, rows, dim=1), strict=True):
        if add:
            part.add_(columns.T @ b)
        else:
            torch.mm(columns.T, b, out=part)


def _cross_entropy(
    logits: Tensor, x: Tensor, weight: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Returns the weighted sum of cross-entropies; replaces (n, V) `logits` by their gradients.

    These are not weighted yet, and rows without a target have one too: the caller's to scale. One
    fused softmax, summed in fp32, does nearly all.
    """
    at_target = torch.arange(len(logits), device=logits.device), targets.clamp(min=0)
    find = _losses_on_gpu if logits.is_cuda else _losses_on_cpu
    losses = find(logits, x, weight, at_target)
    logits[at_target] -= 1
    return (losses * weights).sum()


_Cells = tuple[Tensor, Tensor]  # rows and columns


def _losses_on_cpu(logits: Tensor, x: Tensor, weight: Tensor, at_target: _Cells) -> Tensor:
    """Makes probabilities of the logits in place; returns the (n,) losses, from the targets' own.

    Where a target's is too small to be told, its row is computed anew. A pass over all logits for
    their maxima, which never vanish, takes as long as the softmax.
    """
    torch.softmax(logits, dim=1, out=logits)
    found = logits[at_target].float()
    losses = -found.log()
    rows = torch.nonzero(found < torch.finfo(logits.dtype).tiny).squeeze(1)
    if len(rows):
        again = functional.linear(x[rows], weight).float()
        columns = at_target[1][rows]
        losses[rows] = functional.cross_entropy(again, columns, reduction="none")
    return losses


def _losses_on_gpu(logits: Tensor, _x: Tensor, _weight: Tensor, at_target: _Cells) -> Tensor:
    """Does the same without a question that the processor would have to wait for.

    The sum of exponentials comes from the highest probability, which is at least 1 / V.
    """
    target_logits = logits[at_target].float()  # (n,)
    highest = logits.amax(dim=1).float()  # (n,)
    torch.softmax(logits, dim=1, out=logits)
    return highest - logits.amax(dim=1).float().log() - target_logits


def _summed_loss(x: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Returns what `ChunkedCrossEntropy` returns, for when no gradient is wanted."""
    total = x.new_zeros((), dtype=torch.float32)
    parts = (torch.split(each, LOSS_CHUNK) for each in (x, targets, weights))
    for rows, wanted, scales in zip(*parts, strict=True):
        total += _cross_entropy(functional.linear(rows, weight), rows, weight, wanted, scales)
    return total


def init_weights(model: GPT, generator: torch.Generator) -> None:
    """Fills `model` with its initial values (module docstring), drawn in the order of the names."""
    config = model.config
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.dim() == 1:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, 0.0, init_std(name, config), generator=generator)


def init_std(name: str, config: ModelConfig) -> float:
    """Returns the standard deviation that a matrix starts with.

    >>> shape = {"n_layer": 8, "n_head": 1, "n_embd": 4, "n_ctx": 4, "n_vocab": 9}
    >>> small = ModelConfig(norm="pre", dropout=0.0, **shape)
    >>> init_std("wte.weight", small), init_std("h.0.mlp.c_proj.weight", small)
    (0.02, 0.005)
    """
    if config.norm == "post":
        return INIT_STD
    if name == "wpe.weight":
        return WPE_STD_PRE
    if name.endswith("c_proj.weight"):
        return INIT_STD / math.sqrt(2 * config.n_layer)
    return INIT_STD
