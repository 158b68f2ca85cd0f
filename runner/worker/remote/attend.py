"""Attends to one connection: reads requests from it, answers them, and ends with it. Runs go on without it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable

from runner.errors import IntegrityError, MlrunError
from runner.worker.codec import decode, encode
from runner.worker.facts import Claim
from runner.worker.remote import accept, results
from runner.worker.remote.follow import Follow, said, unknown
from runner.worker.remote.frames import Channel, Cut, Frame, Reader, Writer
from runner.worker.remote.inbox import Inbox, wanted
from runner.worker.remote.kit import this_machine
from runner.worker.remote.site import Site
from runner.worker.results import Outcome

_LARGE = 64 << 20  # bytes: the run need not wait until a file of this size has reached the disk
_BEAT = 5.0  # seconds between two signs of life


def attend(incoming: Reader, outgoing: Writer, hello: Mapping[str, Any], waiting: "list[tuple[Any, bytes]]") -> None:
    """Answer until the connection ends. ``hello`` names the places here, ``waiting`` are frames read already."""
    channel = Channel(incoming, outgoing)
    frames = [Frame(head.pop("kind"), head, body) for head, body in waiting]
    site = Site(hello["home"], hello["cache"], hello["code"], hello["umask"])
    channel.put_back(frames)
    if hello.get("warm"):
        site.warm()
    desk = _Desk(channel, site, str(hello.get("setup", "")))
    threading.Thread(target=desk.show_life, args=(float(hello.get("beat", _BEAT)),), daemon=True).start()
    desk.serve()


class _Desk:
    """One connection's requests."""

    def __init__(self, channel: Channel, site: Site, setup: str) -> None:
        self._channel, self._site, self._setup = channel, site, setup
        self._is_busy = threading.Event()
        self._inboxes: list[Inbox] = []  # of which large files have not reached the disk
        self._answers: Mapping[str, Callable[[Frame], None]] = {
            "greet": self._greet,
            "submit": self._submit,
            "look": self._look,
            "follow": self._follow,
            "cancel": self._cancel,
            "results": self._results,
            "send": self._send,
            "remove": self._remove,
            "depot": self._depot,
            "survey": self._survey,
            "check": self._check,
        }

    def serve(self) -> None:
        """Answer one request after the other; at the end, when nobody waits, see large files to the disk."""
        with contextlib.suppress(Cut):
            while True:
                frame = self._channel.receive()
                self._is_busy.set()
                self._answer(frame)
                self._is_busy.clear()
        for inbox in self._inboxes:
            inbox.sync()

    def show_life(self, every: float) -> None:
        """Say now and then that an answer is on its way: to hash what is large takes longer than a link is trusted."""
        while self._is_busy.wait():
            time.sleep(every)
            if self._is_busy.is_set():
                try:
                    self._channel.send("beat")
                except Cut:
                    return

    def _answer(self, frame: Frame) -> None:
        try:
            self._set_up()
            self._answers.get(frame.kind, _refuse)(frame)
        except MlrunError as error:
            kind = type(error).__name__
            self._channel.send("refused", error=kind, message=error.message, hint=error.hint)
        except OSError as error:
            place = f": {os.fsdecode(error.filename)}" if error.filename else ""
            message = f"{error.strerror or error}{place}"
            self._channel.send("refused", error="BackendError", message=message, hint="look at that machine's disk")

    def _set_up(self) -> None:
        if self._setup:
            from runner.worker.execution.setup import apply

            apply(self._setup)
            self._setup = ""

    def _greet(self, frame: Frame) -> None:
        del frame
        self._channel.send("greeting", machine=this_machine().kind, host=os.uname().nodename)

    def _submit(self, frame: Frame) -> None:
        """Start a run, or say what is to come first; then the same is asked again."""
        asked = accept.read(frame.body)
        lack = accept.lacking(asked, self._site)
        if lack == accept.Lack():
            run = accept.accept(asked, self._site)
            self._channel.send("launched", directory=str(run.path), claimed=run.has(Claim))
            return
        inbox = accept.inbox(asked, lack, self._site)
        blobs = [wanted(inbox, sha256, None) for sha256 in lack.blobs]
        self._channel.send("lack", blobs=blobs, entries=lack.entries, uv=encode(lack.uv))
        while True:
            frame = self._channel.receive()
            if frame.kind != "blobs":
                # A file that a crash cut short is known by its size. A sync would hold up the run: what it writes
                # waits, in one journal, for all that came.
                inbox.sync(below=_LARGE)
                self._inboxes.append(inbox)
                self._channel.put_back([frame])
                return
            try:
                inbox.take(frame)
            except IntegrityError as error:
                self._channel.send("refused", error="IntegrityError", message=error.message, hint=error.hint)
                raise Cut from None  # what still comes belongs to what was refused
            except MlrunError as error:
                self._channel.send("refused", error="StoreError", message=error.message, hint=error.hint)
                raise Cut from None

    def _look(self, frame: Frame) -> None:
        """Say what runs are doing; one that never came, and never will, is taken so that it cannot come late.

        Where runs were seen before and the whole home is missing now, as a disk that is not mounted, none is lost.
        """
        from runner.worker.look import look

        at_home = (self._site.home / "runs").is_dir()
        states: list[dict[str, Any]] = []
        for identity, given_up, seen in frame.head["runs"]:
            run = self._site.run(identity)
            if run.path.is_dir():
                states.append({"run": identity, **said(look(run))})
                continue
            gone = given_up and (at_home or not seen)
            if gone:
                run.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                accept.bar(run)
            states.append({"run": identity, "state": None, "gone": gone, "home": str(self._site.home)})
        self._channel.send("states", states=states)

    def _follow(self, frame: Frame) -> None:
        follow = Follow(self._channel, self._site.run(frame.head["run"]), frame.head["offsets"])
        if frame.head.get("once"):
            follow.so_far()
            return
        follow.until_ended()
        if frame.head.get("results") and self._site.run(frame.head["run"]).has(Outcome):
            self._results(frame)

    def _cancel(self, frame: Frame) -> None:
        from runner.worker.execution.cancel import cancel

        run = self._site.run(frame.head["run"])
        if not run.path.is_dir():
            raise unknown(run)
        state = cancel(run, frame.head["signal"], frame.head["by"])
        self._channel.send("cancelled", state=state.name)

    def _results(self, frame: Frame) -> None:
        run = self._site.run(frame.head["run"])
        if not run.path.is_dir():
            raise unknown(run)
        if not run.has(Outcome):
            message = f"the run {run.id} has not ended: there are no results yet"
            raise MlrunError(message, hint=f"`mlrun wait {run.id}` waits for it, and brings them")
        found, inline = results.results(run, self._site.objects)
        self._channel.send("results", inline, found=encode(found))

    def _survey(self, frame: Frame) -> None:
        from runner.worker.remote.survey import survey

        self._channel.send("surveyed", found=encode(survey(accept.read(frame.body), self._site)))

    def _check(self, frame: Frame) -> None:
        from runner.worker.remote.check import Question, check

        self._channel.send("checked", found=encode(check(self._site, decode(Question, frame.head["asked"]))))

    def _remove(self, frame: Frame) -> None:
        """Remove an ended run's directory; the objects it names may serve others."""
        from runner.worker.execution.workplace import tear_down

        run = self._site.run(frame.head["run"])
        if run.has(Outcome):
            tear_down(run.path)
        self._channel.send("removed", gone=not run.path.exists())

    def _depot(self, frame: Frame) -> None:
        from runner.worker.remote import depot

        depot.answer(self._channel, frame)

    def _send(self, frame: Frame) -> None:
        """Send the items asked for, each from an offset on."""
        from runner.worker.remote.blobs import send

        run = self._site.run(frame.head["run"])
        items = decode(results.Results, frame.head["items"], "what is asked for").items
        blobs = (
            results.blob(item, run, self._site.objects, offset) for item, offset in zip(items, frame.head["offsets"])
        )
        send(self._channel, blobs)
        self._channel.send("sent")


def _refuse(frame: Frame) -> None:
    message = f"the other end asks for {frame.kind!r}, which is not known here"
    raise MlrunError(message, hint="both ends have to be of the same version")
