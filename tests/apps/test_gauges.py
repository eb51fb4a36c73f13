"""The metrics page."""

from __future__ import annotations

from ops.apps.gauges import Gauges, Pulse


def test_the_page_is_prometheus_text() -> None:
    """Histograms are cumulative, tokens and cost carry their modality, and each series has its type once."""
    gauges = Gauges()
    for latency in (0.7, 0.9, 9.0):
        gauges.measure("turn_latency", latency)
    gauges.measure("tokens", 90, "audio_in")
    gauges.measure("tokens", 10, "text_cached")
    gauges.measure("tokens", 1_234_567, "audio_out")
    for cost in (0.00288, 0.00001):
        gauges.measure("dollars", cost, "audio_in")
    gauges.measure("reconnects")
    gauges.lags.extend([0.001] * 95 + [0.5] * 5)
    text = gauges.text({"live_calls": 3})
    assert 'voice_turn_latency_seconds_bucket{le="0.8"} 1\n' in text
    assert 'voice_turn_latency_seconds_bucket{le="+Inf"} 3\n' in text
    assert 'voice_tokens_total{modality="audio",kind="in"} 90\n' in text
    assert 'voice_tokens_total{modality="audio",kind="out"} 1234567\n' in text  # every one of them
    assert 'voice_dollars_total{modality="audio",kind="in"} 0.00289\n' in text
    assert "voice_cached_input_share 0.1\n" in text
    assert "voice_reconnects_total 1\n" in text
    assert "voice_live_calls 3\n" in text
    assert "voice_loop_lag_p95_seconds 0.001\n" in text
    gauges.elsewhere = {1: Pulse(0.25, 7), 2: Pulse(0.002, 8)}
    of_all = gauges.text({"live_calls": 3, "tasks": 10})
    assert "voice_loop_lag_p95_seconds 0.25\n" in of_all  # the worst
    assert "voice_tasks 25\n" in of_all
    assert "voice_workers 2\n" in of_all
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert all(name.startswith("voice_") for name in types)
