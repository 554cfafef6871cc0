"""Where cells run: Dask workers on this machine, of a SLURM cluster, or of a scheduler that is there already."""

import functools
import logging
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster, WorkerPlugin, get_worker

from pipeline import notebook
from pipeline.kernels import ForkServer
from vpstudy import paths

STARTED = "vpstudy-started"  # the topic on which workers tell the keys of tasks that start
CORES = "cores"  # the resource that workers offer, and of which a cell takes as many as it has threads
CONFIGURATION = {
    "distributed.comm.timeouts.connect": "300s",  # a busy machine answers late
    "distributed.worker.memory.terminate": False,  # cells take their memory in processes of their own
    "distributed.worker.memory.pause": False,
    # Else scheduler and worker look at themselves all the time: a tenth of a core, while cells want both.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
}


@contextmanager
def connect(cluster: str, jobs: int | None, cores: int) -> Iterator[tuple[Client, int]]:
    """A client of `cluster`: `local`, `slurm` (configured by Dask's jobqueue.yaml), or the address of a scheduler.

    Yields the cores of a worker, too. `jobs` is the number of cores that cells take on this machine (all `cores` by
    default), or the number of jobs.

    Raises ValueError where there is no such cluster, or its workers do not say how many cores they have.
    """
    with dask.config.set(CONFIGURATION):
        if "://" in cluster:
            with Client(cluster) as client:
                client.register_plugin(_IgnoreInterrupts())
                yield client, _offered(client)
            return
        with _cluster(cluster, jobs, cores) as made, Client(made) as client:
            client.register_plugin(_IgnoreInterrupts())
            yield client, dask.config.get("jobqueue.slurm.cores") if cluster == "slurm" else jobs or cores


class _IgnoreInterrupts(WorkerPlugin):
    """Leaves Ctrl-C, which a terminal sends to workers, too, to the runner."""

    def setup(self, worker: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cluster(name: str, jobs: int | None, cores: int) -> Any:
    if name == "local":
        return LocalCluster(
            n_workers=1,  # one process, whose fork server all cells share
            threads_per_worker=jobs or cores,
            resources={CORES: jobs or cores},
            memory_limit=0,
            dashboard_address="127.0.0.1:0",  # any free port; the default one warns where it is taken
            security=True,  # other users of this machine must not send it work
            silence_logs=logging.CRITICAL,
        )
    if name != "slurm":
        raise ValueError(f"cluster {name!r} is unknown; allowed: local, slurm, or a scheduler as in tcp://HOST:8786")
    from dask_jobqueue import SLURMCluster

    offered = dask.config.get("jobqueue.slurm.cores")
    if not offered:
        raise ValueError("jobqueue.slurm.cores is not set: `slurm` needs ~/.config/dask/jobqueue.yaml, or $DASK_CONFIG")
    shared = paths.ROOT / ".dvc" / "tmp"
    made = SLURMCluster(
        processes=1,
        worker_extra_args=["--resources", f"{CORES}={offered}"],
        security=True,
        scheduler_options={"dashboard_address": ":0"},
        shared_temp_directory=str(shared),
    )
    tried = subprocess.run(["sbatch", "--test-only"], input=made.job_script(), capture_output=True, text=True)
    if tried.returncode:  # else Dask would try for ever
        made.close()
        raise ValueError(f"SLURM refuses such a job: {tried.stderr.strip()}")
    made.adapt(minimum_jobs=jobs or 1, maximum_jobs=jobs or 1)  # a job that ends, by its time limit too, is replaced
    return made


def _offered(client: Client) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if lacking := [worker["id"] for worker in workers if not worker["resources"].get(CORES)]:
        raise ValueError(
            f"{', '.join(map(str, lacking))}: a worker does not say how many cores it has; "
            f'start it with `dask worker --resources "{CORES}=N"`'
        )
    if not workers:
        raise ValueError(f"{client.scheduler.address} has no workers")
    return int(min(worker["resources"][CORES] for worker in workers))


@functools.cache
def _server(threads: int) -> ForkServer:
    return ForkServer(threads)


def run(job: notebook.Job, warm_threads: int) -> dict[str, Any]:
    """Run `job` in this worker; its timing, or the `error` that ended it, in words.

    Kernels of `warm_threads` threads are forked, others start cold.
    """
    worker = get_worker()
    key = worker.get_current_task()
    worker.log_event(STARTED, key)

    def stopped() -> bool:  # the runner has gone, or does not want this any more
        return key not in worker.state.tasks or worker.state.tasks[key].state == "cancelled"

    try:
        return notebook.run(job, _server(warm_threads), stopped)
    except (notebook.NotebookError, ValueError, OSError) as error:
        return {"error": str(error)}
