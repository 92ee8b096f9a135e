"""Projects that are built on multiprocessing, unmodified, by ``python -m shmpipe`` and under each start method they have."""

import importlib.util
import subprocess
import sys
import textwrap

import pytest

FORK, SPAWN, FORKSERVER = "fork", "spawn", "forkserver"
ALL = [FORK, SPAWN, FORKSERVER]

#: What each program has at its head. `kind` tells in a child which pipes it makes.
HEAD = """
import multiprocessing, sys
METHOD = sys.argv[1]

def square(number):
    return number * number

def kind(_=None):
    return type(multiprocessing.Pipe()[0]).__module__
"""

#: Project, start methods, and a body whose last line prints what has to be.
PROJECTS = {
    "gymnasium": (
        ALL,
        """
        import gymnasium, numpy
        from gymnasium.vector import AsyncVectorEnv

        class Environment(gymnasium.Env):
            observation_space = gymnasium.spaces.Box(0, 255, (84, 84, 4), numpy.uint8)
            action_space = gymnasium.spaces.Discrete(4)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                self.steps = 0
                return numpy.zeros((84, 84, 4), numpy.uint8), {}

            def step(self, action):
                self.steps += 1
                return numpy.full((84, 84, 4), self.steps, numpy.uint8), 1.0, False, False, {"kind": kind()}

        if __name__ == "__main__":
            for shared in (False, True):
                environments = AsyncVectorEnv([Environment] * 2, shared_memory=shared, context=METHOD)
                environments.reset(seed=7)
                for number in range(1, 21):
                    observations, *_, infos = environments.step(environments.action_space.sample())
                    assert (observations == number).all()
                environments.close()
            print(kind(), *infos["kind"])
        """,
    ),
    "pebble": (
        ALL,
        """
        import concurrent.futures, time
        from pebble import ProcessPool

        def wait_long(_):
            time.sleep(60)

        if __name__ == "__main__":
            with ProcessPool(2, context=multiprocessing.get_context(METHOD)) as pool:
                assert [pool.schedule(square, args=(n,)).result() for n in range(20)] == [n * n for n in range(20)]
                late = pool.schedule(wait_long, args=(1,), timeout=0.2)
                try:
                    late.result()
                except concurrent.futures.TimeoutError:
                    pass
                kinds = [pool.schedule(kind).result() for _ in range(2)]
            print(kind(), *kinds)
        """,
    ),
    "loky": (
        ["loky"],
        """
        import loky

        if __name__ == "__main__":
            executor = loky.get_reusable_executor(2)
            assert list(executor.map(square, range(50))) == [n * n for n in range(50)]
            kinds = [executor.submit(kind).result() for _ in range(2)]
            executor.shutdown()
            print(kind(), *kinds)
        """,
    ),
    "joblib": (
        ["loky", "multiprocessing"],
        """
        import joblib

        if __name__ == "__main__":
            with joblib.parallel_backend(METHOD, n_jobs=2):
                assert joblib.Parallel()(joblib.delayed(square)(n) for n in range(50)) == [n * n for n in range(50)]
                kinds = joblib.Parallel()(joblib.delayed(kind)() for _ in range(2))
            print(kind(), *kinds)
        """,
    ),
    "mpire": (
        ALL,
        """
        import mpire

        if __name__ == "__main__":
            with mpire.WorkerPool(2, start_method=METHOD) as pool:
                assert pool.map(square, range(50)) == [n * n for n in range(50)]
                kinds = pool.map(kind, range(2))
            print(kind(), *kinds)
        """,
    ),
    "concurrent.futures": (
        ALL,
        """
        import concurrent.futures

        if __name__ == "__main__":
            context = multiprocessing.get_context(METHOD)
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
                assert list(executor.map(square, range(50))) == [n * n for n in range(50)]
                kinds = list(executor.map(kind, range(2)))
            print(kind(), *kinds)
        """,
    ),
    "multiprocessing.managers": (
        ALL,
        """
        if __name__ == "__main__":
            with multiprocessing.get_context(METHOD).Manager() as manager:
                shared = manager.dict(a=1)
                queue = manager.Queue()
                child = multiprocessing.get_context(METHOD).Process(target=shared.update, args=({"kind": kind()},))
                child.start()
                child.join()
                queue.put(shared.copy())
                kinds = [queue.get()["kind"]] * 2
            print(kind(), *kinds)
        """,
    ),
}


@pytest.mark.parametrize("name, method", [(name, method) for name, (methods, _) in PROJECTS.items() for method in methods])
def test_a_project_runs_on_shmpipe_as_it_is(name, method, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "program.py").write_text(HEAD + textwrap.dedent(PROJECTS[name][1]))
    outcome = subprocess.run(
        [sys.executable, "-m", "shmpipe", "program.py", method], cwd=tmp_path, capture_output=True, text=True, timeout=55
    )
    assert (outcome.returncode, outcome.stdout) == (0, "shmpipe.connection " * 2 + "shmpipe.connection\n"), outcome.stderr
