"""Settings for every test, before torch is imported."""

import os

# As in the kernels: without it, tests beside other work wait for threads that spin.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
