import socket
import subprocess
import sys
import time

import pytest

from hpt_ros.bringup.domain import DomainLock, domain_in_use
from hpt_ros.errors import BusyError


def test_a_held_domain_is_refused_until_it_is_given_back():
    with DomainLock.any_free() as first:
        with pytest.raises(BusyError, match=f"domain {first.domain_id} is used by another run"):
            DomainLock(first.domain_id)
        with DomainLock.any_free() as second:
            assert second.domain_id != first.domain_id
    DomainLock(first.domain_id).close()


def test_a_killed_holder_gives_its_domain_back():
    code = """
import time
from hpt_ros.bringup.domain import DomainLock
lock = DomainLock.any_free()
print(lock.domain_id, flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    domain_id = int(child.stdout.readline())
    with pytest.raises(BusyError):
        DomainLock(domain_id)
    child.kill()
    child.wait()
    DomainLock(domain_id).close()


def test_a_domain_whose_ports_are_bound_is_in_use():
    with DomainLock.any_free() as lock:
        domain_id = lock.domain_id
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.bind(("127.0.0.1", 7400 + 250 * domain_id + 11))
        assert domain_in_use(domain_id)
        with pytest.raises(BusyError, match="other ROS nodes"):
            DomainLock(domain_id)
    time.sleep(0.01)
    assert not domain_in_use(domain_id)
