# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import sys
from nexusflow.engine.cpu import keep_freed_memory

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [b'x' * 2**24 for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == 'keep':
    assert keep_freed_memory()
faults_of_a_step()
print(faults_of_a_step())
"""


def page_faults(mode):
    ran = subprocess.run(
        [sys.executable, '-c', SCRIPT, mode], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
def test_second_step_finds_the_memory_of_the_first():
    """64 MiB are 16384 pages of 4 KiB, which glibc by default maps anew."""
    assert page_faults('keep') < 1000 < page_faults('default')


def test_numpy_has_one_thread_here_and_in_workers():
    script = """
import multiprocessing
import numpy
from threadpoolctl import threadpool_info
from nexusflow.engine.cpu import keep_numpy_to_one_thread

def threads():
    return [lib['num_threads'] for lib in threadpool_info() if lib['internal_api'] == 'openblas']

assert threads()
keep_numpy_to_one_thread()
assert set(threads()) == {1}
with multiprocessing.get_context('fork').Pool(1) as pool:
    assert set(pool.apply(threads)) == {1}
"""
    subprocess.run([sys.executable, '-c', script], check=True)
