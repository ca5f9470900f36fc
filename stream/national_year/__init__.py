"""A national year of port events and declarations, made up but true to what is known.

``NationalYear(seed=2018, scale=0.01)`` gives records for Kafka, a log for replay, and what must
come out of either. Called by the demo, the tests and the benchmarks; it must never know a broker.

From what is known to bytes, file by file: operators.py (who reports), stories.py and catalogue.py
(what happens, and what comes out of it), planner.py (when, where, how much, in numpy columns),
templates.py (how each record is written), year.py (slices and logs), expectations.py (the sums).
"""

from stream.national_year.expectations import Expectations
from stream.national_year.year import NationalYear, RecordSlice

__all__ = ["Expectations", "NationalYear", "RecordSlice"]
