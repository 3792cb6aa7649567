"""The gate between threads at work and a fork, with real forks."""

import os
import threading
import time

from workers.forks import ForkGate

CODE_FREE, CODE_BUSY = 0, 7


def forked(gate: ForkGate) -> int:
    """The exit code of a child that tells whether the gate came to it free."""
    gate.close()
    pid = os.fork()
    gate.reopen()
    if pid == 0:
        done = threading.Event()

        def enter() -> None:
            with gate.inside():
                done.set()

        threading.Thread(target=enter, daemon=True).start()
        os._exit(CODE_FREE if done.wait(5) else CODE_BUSY)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_waits_for_those_inside_and_keeps_others_out() -> None:
    gate, order = ForkGate(), []
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with gate.inside():
            entered.set()
            leave.wait(5)
            order.append("left")

    def late() -> None:
        with gate.inside():
            order.append("late")

    def close() -> None:
        gate.close()
        order.append("closed")

    first = threading.Thread(target=work)
    first.start()
    entered.wait(5)
    closing = threading.Thread(target=close)
    closing.start()
    time.sleep(0.1)
    second = threading.Thread(target=late)
    second.start()
    time.sleep(0.1)
    assert order == []
    leave.set()
    closing.join(5)
    time.sleep(0.1)
    assert order == ["left", "closed"]
    gate.reopen()
    second.join(5)
    first.join(5)
    assert order == ["left", "closed", "late"]


def test_a_child_finds_the_gate_open() -> None:
    gate = ForkGate()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            with gate.inside():
                time.sleep(0.001)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert [forked(gate) for _ in range(5)] == [CODE_FREE] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()
