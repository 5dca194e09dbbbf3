"""Where work runs: in this process, in processes of this machine, or on a Dask cluster.

An executor takes a function and a list of tasks, and gives results as they are
done. What is computed doesn't depend on which one it is; functions and tasks
must be picklable for all but `SerialExecutor`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aicsched.errors import AicschedError, ConfigError, ExecutorError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

__all__ = ["DaskExecutor", "Executor", "ProcessExecutor", "SerialExecutor"]

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """What runs one function on many tasks."""

    def map_unordered(
        self, call: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run `call` on each task, and yield its index and result as they are done, in any order.

        What `call` raises is raised here, and what has not begun by then is not run.
        """
        ...


class SerialExecutor:
    """Runs tasks one after the other in this process.

    Examples
    --------
    >>> list(SerialExecutor().map_unordered(abs, [-1, -2]))
    [(0, 1), (1, 2)]
    """

    def map_unordered(
        self, call: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run tasks in their order.

        Parameters
        ----------
        call : callable
            Of one task.
        tasks : sequence
            What to run it on.

        Yields
        ------
        tuple of int, result
            Index of the task, and what came of it.
        """
        for index, task in enumerate(tasks):
            yield index, call(task)


class ProcessExecutor:
    """Runs tasks in processes of this machine.

    Processes are fresh ones: forking one that has threads, as BLAS has, may deadlock.
    A script that uses it must guard its start with ``if __name__ == "__main__"``.

    Parameters
    ----------
    jobs : int
        How many processes, at least 1.

    Raises
    ------
    ConfigError
        Less than 1.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            msg = f"{jobs} processes can't do any work"
            raise ConfigError(msg, hint="use at least 1", value=jobs)
        self.jobs = jobs

    def map_unordered(
        self, call: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run tasks in processes.

        Parameters
        ----------
        call : callable
            Of one task; picklable, as are the tasks.
        tasks : sequence
            What to run it on.

        Yields
        ------
        tuple of int, result
            Index of the task, and what came of it.

        Raises
        ------
        ExecutorError
            A process died.
        """
        if not tasks:
            return
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(self.jobs, len(tasks)), mp_context=context)
        try:
            running = {pool.submit(call, task): index for index, task in enumerate(tasks)}
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool as error:
            msg = "a worker process died before its work was done"
            hint = "give it more memory or fewer jobs; a script needs an `if __name__ == '__main__'` guard"
            raise ExecutorError(msg, hint=hint) from error
        finally:
            pool.shutdown(cancel_futures=True)


class DaskExecutor:
    """Runs tasks on a Dask cluster, whose workers have the same packages as this process.

    Parameters
    ----------
    client : str or distributed.Client
        The scheduler's address, such as ``tcp://10.0.0.5:8786``, or a client that is connected.

    Raises
    ------
    ExecutorError
        `distributed` is not installed (the extra ``dask`` brings it).
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - the client's class is an extra's
        try:
            import distributed  # noqa: PLC0415 - an extra, and it takes a second
        except ImportError as error:
            msg = "distributed, which Dask clusters need, is not installed"
            raise ExecutorError(msg, hint="pip install 'aicsched[dask]'") from error
        self._distributed: Any = distributed
        self.client = client

    def map_unordered(
        self, call: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Run tasks on the cluster.

        Parameters
        ----------
        call : callable
            Of one task; picklable, as are the tasks.
        tasks : sequence
            What to run it on.

        Yields
        ------
        tuple of int, result
            Index of the task, and what came of it.

        Raises
        ------
        ExecutorError
            The cluster can't be reached, or loses the work.
        """
        with self._connected() as client:
            # Pure would take equal tasks for one; a task may be run again only where its worker died.
            running = {client.submit(call, task, pure=False): index for index, task in enumerate(tasks)}
            try:
                for future in self._distributed.as_completed(running, loop=client.loop):
                    yield running[future], self._result(future)
            finally:
                client.cancel(list(running))

    def _result(self, future: Any) -> Any:  # noqa: ANN401 - whatever the function gives
        try:
            return future.result()
        except AicschedError:
            raise
        except (self._distributed.KilledWorker, self._distributed.CancelledError, ImportError) as error:
            msg = f"the cluster lost a task ({type(error).__name__}: {error})"
            hint = "give its workers more memory, and the same packages as here"
            raise ExecutorError(msg, hint=hint) from error

    @contextlib.contextmanager
    def _connected(self) -> Generator[Any]:
        if not isinstance(self.client, str):
            yield self.client
            return
        try:
            client = self._distributed.Client(self.client, set_as_default=False)
        except (OSError, ValueError) as error:
            msg = f"no Dask scheduler answers at '{self.client}'"
            hint = "start one with `dask scheduler`, and give its address"
            raise ExecutorError(msg, hint=hint, value=self.client) from error
        with client:
            yield client
