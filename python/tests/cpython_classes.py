"""Runs CPython's own test classes of what pipes are part of, on shmpipe.

``python tests/cpython_classes.py METHOD [PATTERN...]`` with a start method; prints how many ran. It is a program of its
own, since the classes set the start method, and children of the start methods spawn and forkserver import it.
"""

import fnmatch
import sys
import unittest

import shmpipe

#: The classes that make pipes, by the names that every version has.
CLASSES = [
    "*TestConnection",
    "*TestPicklingConnections",
    "*TestPoll",
    "*TestQueue",
    "*TestPool",
    "*TestPoolWorkerErrors",
    "TestPoolWorkerErrors",
    "*TestListenerClient",
    "*TestRemoteManager",
    "*TestMyManager",
    "*TestManagerRestart",
    "TestWait",
    "TestSimpleQueue",
    "TestIgnoreEINTR",
    "TestCloseFds",
    "TestForkAwareThreadLock",
    "TestSyncManagerTypes",
]

#: It writes to the descriptor by os.write(2), which is for watching only.
EXCUSED = ["test_missing_fd_transfer"]

if len(sys.argv) > 1:
    shmpipe.install()
    import test._test_multiprocessing as classes

    classes.install_tests_in_module_dict(globals(), sys.argv[1])


def main():
    patterns = sys.argv[2:] or CLASSES
    names = [
        name
        for name, value in sorted(globals().items())
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        and "Threads" not in name
    ]
    suite = unittest.TestSuite()
    for name in names:
        for case in unittest.defaultTestLoader.loadTestsFromTestCase(globals()[name]):
            if case.id().rsplit(".", 1)[1] not in EXCUSED:
                suite.addTest(case)
    setUpModule()  # noqa: F821
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    tearDownModule()  # noqa: F821
    bad = len(result.errors) + len(result.failures) + len(result.unexpectedSuccesses)
    print(f"{sys.argv[1]}: {result.testsRun} run, {len(result.skipped)} skipped, {bad} bad; excused: {', '.join(EXCUSED)}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
