"""The tests. What must hold before anything is imported is set here."""

import os
import signal

# Tiny matrices on several threads wait for each other longer than they compute; children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores SIGINT, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
