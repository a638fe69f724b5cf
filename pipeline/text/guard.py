"""Stops a step that would remove an implausible share of its documents for one reason."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.store.config import require
from pipeline.store.errors import ShardError
from pipeline.store.shards import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How much one reason may remove.

    Attributes:
        min_documents: With fewer documents a share says little, and nothing is stopped.
        max_removed_frac: Of all documents, for one reason.
        by_reason: Other shares for some reasons.
    """

    min_documents: int
    max_removed_frac: float
    by_reason: dict[str, float]

    def __post_init__(self) -> None:
        require("min_documents", self.min_documents, self.min_documents >= 1, "x >= 1")
        for name, share in {"max_removed_frac": self.max_removed_frac, **self.by_reason}.items():
            require(name, share, 0 <= share <= 1, "0 <= x <= 1")

    def allowed(self, reason: str) -> float:
        """Returns the largest share that one reason may remove."""
        return self.by_reason.get(reason, self.max_removed_frac)


def excessive(counts: Counts, config: Config) -> list[str]:
    """Returns the reasons that remove more than they may, the worst first.

    >>> config = Config(min_documents=10, max_removed_frac=0.5, by_reason={"language": 0.9})
    >>> dropped = {"language": 80, "too_short": 60, "empty": 10}
    >>> excessive(Counts(n_in=100, n_out=-50, dropped=dropped), config)
    ['too_short']
    """
    if counts.n_in < config.min_documents:
        return []
    allowed = {reason: config.allowed(reason) * counts.n_in for reason in counts.dropped}
    found = [reason for reason, n in counts.dropped.items() if n > allowed[reason]]
    return sorted(found, key=lambda reason: (-counts.dropped[reason], reason))


def refusal(section: str, reason: str, counts: Counts, config: Config, where: Path) -> ShardError:
    """Returns the error for one excessive reason.

    Args:
        section: Of params.yaml, where the guard stands.
        reason: Of the drops.
        counts: All of the stage.
        config: The guard.
        where: Folder of the decisions.
    """
    n, allowed = counts.dropped[reason], config.allowed(reason)
    key = "by_reason." + reason if reason in config.by_reason else "max_removed_frac"
    return ShardError(
        f"{section} would remove {n} of {counts.n_in} documents ({n / counts.n_in:.1%}) as "
        f"`{reason}`; params.yaml: {section}.guard.{key} allows {allowed:.1%}; look at them in "
        f"{where} (columns reason, detail, excerpt), then mend the rule or allow more by "
        f"{section}.guard.by_reason: {{{reason}: {min(1.0, n / counts.n_in + 0.05):.2f}}}"
    )
