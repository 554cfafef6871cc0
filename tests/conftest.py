"""Settings for every test, before torch is imported."""

import os

# Two test runs beside each other would wait for each other's spinning threads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
