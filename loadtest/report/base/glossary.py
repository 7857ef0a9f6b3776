"""What the words of the report mean, and what the report does not claim."""

from __future__ import annotations

from typing import Final

TERMS: Final = (
    (
        "TTFB",
        "First response byte at the client minus the moment the last byte of the request was "
        "handed to the kernel, on a connection that had carried a request before. It holds the "
        "network round trip to whatever answers and everything the server does before it speaks. "
        "k6 calls it waiting. Set-up of the connection is not in it.",
    ),
    (
        "cold TTFB",
        "First response byte minus the start of everything: name look-up, TCP, TLS, request and "
        "wait on a new connection. What a first visitor feels, curl's time_starttransfer.",
    ),
    (
        "response from schedule",
        "Last response byte minus the moment the schedule said the request should leave. A target "
        "that stalls cannot hide from it by delaying the requests that come after "
        "(coordinated omission).",
    ),
    ("arm", "One deployment, or one revision, under comparison. A variant differs in one setting."),
    ("cell", "Region × deployment × scenario: the unit that numbers and decisions belong to."),
    (
        "block",
        "A short stretch of the run in which every arm of a region gets its requests once, in "
        "random order, so that all arms meet the same weather. Intervals come from resampling "
        "blocks, not requests.",
    ),
    (
        "p50, p95, p99",
        "Percentiles by nearest rank: a time some request really took. Failed requests count as "
        "infinitely slow, so a percentile reads “failed” once failures reach its rank. One that "
        "the sample cannot carry is not printed.",
    ),
    (
        "95 % interval",
        "The range that the value would fall in for 95 of 100 repetitions of such a run, as far as "
        "this run can tell. It does not cover what a run on another day would bring.",
    ),
    (
        "network floor",
        "What the round trips alone cost on the links as configured: no app, no database work. No "
        "code change in the same places can get below it.",
    ),
    (
        "margin",
        "The difference that is called none: the larger of a share and a time. A rule fails when "
        "the whole interval lies beyond it, passes when the whole interval lies inside, and is "
        "inconclusive otherwise.",
    ),
    ("late, dropped", "Sent after its intended start by more than the budget; never sent."),
    (
        "invalid",
        "A check of the measurement itself failed. The numbers are shown but not judged: an "
        "invalid run is never a pass.",
    ),
)

LIMITS_EMBEDDED: Final = (
    "An emulated wide-area network: delays are those of the named source, without loss, "
    "congestion, route changes or a provider's own queues.",
    "All machines of all regions share this one computer. Times of pure computing are this "
    "computer's; capacity and throughput of the real place are not measured.",
    "The client stands at the edge of its own region; the last mile of a visitor's line is not in "
    "any number.",
)

LIMITS_ALWAYS: Final = (
    "One run on one day: intervals tell how well this run knows its own weather, not how the "
    "weather changes.",
    "TTFB says when an answer begins, not when a page can be used: rendering, images and scripts "
    "come after it.",
)
