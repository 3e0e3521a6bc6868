"""Requests have keys that do not change from one version to the next: journals are read by them."""

from __future__ import annotations

from scripted_engine import toy_problem

from mmprm.config import Sampling
from mmprm.engine.base import request_key


def test_the_key_of_a_request_is_what_it_has_always_been() -> None:
    sampling = Sampling(temperature=0.7, top_p=1, top_k=0, max_new_tokens=192)
    key = request_key("policy", toy_problem(3), ("a step",), 4, sampling, 17)
    assert key == "69a2d53b40151478d13b6d1f20be3c4c"
