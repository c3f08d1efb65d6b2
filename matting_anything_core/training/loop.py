"""The training loop: stages in turn, on one process or many, resumed exactly where it was stopped.

Every sample is a function of the seed and its index, every random choice of a step one of the seed and the step, so a
run that was killed and resumed from its checkpoint takes the same steps as one that was not.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Sampler

from .checkpoint import keep_rows_before, load_if_there, save_atomically
from .clicks_score import click_scores, subjects
from .ema import MovingAverage
from .library import Library
from .prepare import Task, build_task, dataset_for
from .recipe import Recipe, Stage
from .schedule import rate_at
from .validation import Item, append_scores, draw, evaluate
from .watch import Board, Log

Batch: TypeAlias = dict[str, Tensor]
Vary: TypeAlias = Callable[[Batch, int], Batch]
"""A batch and its step -> the batch to learn from; a function of these two alone, so that runs can be resumed."""
SHOWN = 8
"""Validation pictures on TensorBoard's sheet."""


@dataclass(frozen=True)
class Team:
    """The processes that train together; one alone when torchrun did not start this."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process logs, validates and writes."""
        return self.rank == 0


def join_team(device: str = "auto") -> Team:
    """Read torchrun's environment; nccl on CUDA, gloo on CPUs."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available() and device in ("auto", "cuda")
    chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(chosen)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return Team(rank, size, chosen)


class StepSampler(Sampler[int]):
    """The indices of this process's samples from a step on: batch by batch, without overlap between processes."""

    def __init__(self, first: int, last: int, batch: int, team: Team) -> None:
        self.first, self.last, self.batch, self.team = first, last, batch, team

    def __iter__(self) -> Iterator[int]:
        for step in range(self.first, self.last):
            start = (step * self.team.size + self.team.rank) * self.batch
            yield from range(start, start + self.batch)

    def __len__(self) -> int:
        return (self.last - self.first) * self.batch


@dataclass
class Run:
    """What a run carries along; written to its checkpoint."""

    stage: int = 0
    step: int = 0
    total_steps: int = 0
    seconds: float = 0.0
    clip_norm: float = 0.0


@dataclass(frozen=True)
class Limits:
    """When to stop before the recipe's end: after so many minutes of this call, or at a step of the current stage."""

    minutes: float = math.inf
    step: int | None = None


def train(recipe: Recipe, out: Path, library: Library, items: list[Item], team: Team,
          limits: Limits | None = None, vary: Vary | None = None) -> dict[str, Tensor]:
    """Run a recipe's stages, from the checkpoint in `out` if there is one; returns the averaged weights.

    Every process calls this with the same recipe; the leading one writes checkpoint.pt, losses.csv, scores.csv,
    log.txt and TensorBoard's events to `out`. vary: changes each batch, once it is on the device, before it is learned
    from.
    """
    limits = limits or Limits()
    out.mkdir(parents=True, exist_ok=True)
    log = Log(out / "log.txt" if team.leads else None)
    board = Board(out / "events" if team.leads else None)
    state = load_if_there(out / "checkpoint.pt")
    run = Run(**state["run"]) if state else Run()
    if state and team.leads:
        keep_rows_before(out / "losses.csv", run.stage, run.step)
        log(f"resumed stage {run.stage + 1} at step {run.step}")
    deadline = time.monotonic() + limits.minutes * 60
    weights: dict[str, Tensor] | None = None
    for number in range(run.stage, len(recipe.stages)):
        run.stage = number
        leg = Leg(recipe, number, run, team, out, log, board, items, vary)
        leg.start(state, weights)
        done = leg.go(library, deadline, limits.step)
        weights, state = leg.average.weights(), None
        if not done:
            break
        if number + 1 < len(recipe.stages):
            run.step, run.clip_norm = 0, 0.0
    board.close()
    assert weights is not None
    return of_the_model(weights)


def of_the_model(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The networks' weights, without what a task keeps for the training alone."""
    return {name: x for name, x in weights.items() if name.startswith(("sam.", "m2m."))}


class Leg:
    """One stage of a run: its task, optimiser and averaged weights."""

    def __init__(self, recipe: Recipe, number: int, run: Run, team: Team, out: Path, log: Log, board: Board,
                 items: list[Item], vary: Vary | None = None) -> None:
        self.vary = vary
        self.recipe, self.run, self.team, self.out = recipe, run, team, out
        self.log, self.board, self.items = log, board, items
        self.stage: Stage = recipe.stages[number]
        self.number = number

    def start(self, state: dict[str, Any] | None, weights: dict[str, Tensor] | None) -> None:
        """Build the task from a checkpoint, from the averaged weights of the stage before, or from the recipe."""
        torch.manual_seed(self.recipe.seed + self.number)
        self.task: Task = build_task(self.recipe, self.stage, weights).to(self.team.device)
        if self.team.device.type == "cuda" and self.team.size > 1 and not self.stage.freeze_norms:
            self.task = nn.SyncBatchNorm.convert_sync_batchnorm(self.task)  # type: ignore[no-untyped-call]
        groups = self.task.groups()
        kind = torch.optim.AdamW if self.stage.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = kind(groups, lr=self.stage.rate, betas=self.stage.betas)
        self.scaler = torch.amp.GradScaler(enabled=self.stage.precision == "float16")
        self.average = MovingAverage(self.task, self.stage.ema)
        if state is not None:
            self.task.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.average.load(state["average"])
        self.wrapped: nn.Module = self.task
        if self.team.size > 1:
            self.wrapped = DistributedDataParallel(self.task, find_unused_parameters=True, broadcast_buffers=False)

    def go(self, library: Library, deadline: float, stop: int | None) -> bool:
        """Take the stage's remaining steps; False when a limit came first."""
        run, stage = self.run, self.stage
        if run.step >= stage.steps:  # resumed from the checkpoint at the stage's end
            return True
        data: Dataset[Batch] = dataset_for(self.recipe, stage, library, self.number)
        sampler = StepSampler(run.step, stage.steps, stage.batch, self.team)
        loader = DataLoader(data, stage.batch, sampler=sampler, num_workers=self.recipe.workers,
                            prefetch_factor=6 if self.recipe.workers else None,
                            multiprocessing_context="fork" if self.recipe.workers else None,
                            pin_memory=self.team.device.type == "cuda")
        self.wrapped.train()
        last = saved = validated = time.monotonic()
        for batch in loader:
            waited = time.monotonic() - last
            here = {name: x.to(self.team.device, non_blocking=True) for name, x in batch.items()}
            values = self._step(self.vary(here, run.step) if self.vary else here)
            now = time.monotonic()
            run.seconds += now - last
            last = now
            self._note(values, waited)
            over = now > deadline or (stop is not None and run.step >= stop)
            if self.team.size > 1 and math.isfinite(deadline):  # the leader's clock counts
                flag = torch.tensor(float(over), device=self.team.device)
                dist.broadcast(flag, 0)
                over = bool(flag.item())
            if over or now - saved > self.recipe.checkpoint_minutes * 60:
                self.save()
                saved = time.monotonic()
            if now - validated > self.recipe.validate_minutes * 60:
                self.validate()
                validated = last = time.monotonic()
            if over:
                return False
        self.save()
        self.validate()
        return True

    def _step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser; returns what to log."""
        run, stage = self.run, self.stage
        rate = rate_at(stage, run.step)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * rate
        loss, values = self.wrapped(batch, run.step)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        limit = self._clip()
        norm = nn.utils.clip_grad_norm_([p for p in self.task.parameters() if p.grad is not None], limit)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        share = 0.99 if run.step else 0.0
        run.step += 1
        run.total_steps += 1
        self.average.update(self.task, run.step)
        # Fetched at the end and together: the host waits for the device once a step.
        shown = [norm, loss.detach(), *values.values()]
        found, reached, *told = torch.stack(
            [torch.as_tensor(x, dtype=torch.float32, device=norm.device) for x in shown]).tolist()
        if math.isfinite(found) and stage.clip_moving:
            run.clip_norm = run.clip_norm * share + min(found, limit) * (1 - share)
        return {"loss": reached, **dict(zip(values, told, strict=True)), "norm": found, "rate": rate * stage.rate}

    def _clip(self) -> float:
        """The largest norm of the gradient: the stage's, or so many times its moving mean."""
        if self.stage.clip_moving and self.run.clip_norm > 0:
            return self.stage.clip_moving * self.run.clip_norm
        return self.stage.clip

    def _note(self, values: dict[str, float], waited: float) -> None:
        if not self.team.leads:
            return
        path = self.out / "losses.csv"
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["stage", "step", "loss", "seconds"])
            writer.writerow([self.number, self.run.step, repr(values["loss"]), f"{self.run.seconds:.1f}"])
        self.log.collect(values, waited)
        if self.run.step % self.recipe.log_steps == 0:
            means = self.log.report(self.number, self.run.step, self.stage.steps)
            self.board.scalars(means, self.run.total_steps)

    def save(self) -> None:
        """Write the checkpoint; all processes have the same weights, the leading one's norms are taken."""
        if self.team.leads:
            save_atomically({
                "run": vars(self.run).copy(), "model": self.task.state_dict(), "average": self.average.weights(),
                "optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict(),
            }, self.out / "checkpoint.pt")

    def validate(self) -> None:
        """Score the averaged weights on the fixed pictures; the other processes go on and wait at the next step."""
        if not self.team.leads or not self.items:
            return
        with self.average.swapped_in(self.task):
            self.task.eval()
            m2m = self.task.m2m if self.stage.kind == "matte" else None
            if self.stage.kind == "clicks":
                scores = click_scores(self.task.sam, subjects(self.task.sam, self.items))
            else:
                scores = evaluate(self.task.sam, m2m, self.items, self.stage.matte_square, snap=self.stage.snap)
            if self.board.on:
                some = self.items[:: max(1, len(self.items) // SHOWN)][:SHOWN]
                self.board.picture("validation", draw(self.task.sam, m2m, some, self.stage.matte_square,
                                                      snap=self.stage.snap), self.run.total_steps)
        self.wrapped.train()
        append_scores(self.out / "scores.csv", self.number, self.run.step, self.run.seconds, scores)
        for kind, values in scores.items():
            self.log(f"validation, step {self.run.step}, {kind}: "
                     + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
            self.board.scalars({f"{kind}/{name}": value for name, value in values.items()}, self.run.total_steps)
