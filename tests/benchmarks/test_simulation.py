"""The simulation: every job is done, nobody idles, and fairness shows."""

from xml.etree import ElementTree

import pytest

from benchmarks.simulation import CLIP_S, FILM_S, GPU_SPEED, Policy, p95, plot, simulate


@pytest.mark.parametrize("policy", ["fair", "first come"])
def test_no_gpu_idles_while_there_is_work(policy: Policy) -> None:
    result = simulate(40, 2, policy)
    assert result.busy > 0.98, "at the very end some GPU has nothing left"
    assert result.gpu_hours * 3600 == pytest.approx(20 * (FILM_S + CLIP_S) * 2 * 44.2 / 235 / GPU_SPEED, rel=0.02)


def test_short_jobs_do_not_wait_for_long_ones_and_nothing_costs_more() -> None:
    fair, first_come = simulate(100, 1, "fair"), simulate(100, 1, "first come")
    assert fair.first_second_p95_s < first_come.first_second_p95_s / 5
    assert fair.gpu_hours == pytest.approx(first_come.gpu_hours, rel=0.01)


def test_more_gpus_make_nobody_wait_longer() -> None:
    delays = [simulate(200, gpus, "fair").first_second_p95_s for gpus in (1, 4, 16)]
    assert delays == sorted(delays, reverse=True)


def test_the_plot_has_a_curve_for_each_number_of_gpus_and_each_order() -> None:
    policies: tuple[Policy, ...] = ("fair", "first come")
    results = [simulate(jobs, gpus, policy) for jobs in (10, 30) for gpus in (1, 8) for policy in policies]
    root = ElementTree.fromstring(plot(results))  # noqa: S314  (our own)
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles.count("1 GPU, fair") == 3
    assert titles.count("8 GPUs, first come") == 3
    assert len(titles) == 3 * 4


def test_p95_is_one_of_the_values() -> None:
    assert p95([3.0, 1.0, 2.0]) == 3.0
    assert p95([float(value) for value in range(1, 101)]) == 95.0
