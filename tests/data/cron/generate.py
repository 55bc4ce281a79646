"""Writes firings.txt: the next ten firings of cron expressions, by croniter.

    python3 -m venv venv && venv/bin/pip install croniter==7.0.0
    venv/bin/python generate.py > firings.txt

All in UTC, so that no change of the clock is involved: those are derived by hand in the tests.
Left out, because croniter differs from Vixie cron on purpose: expressions in which one of the two
day fields starts with `*/` and the other is restricted (Vixie: both must match; croniter: either).
"""

from datetime import datetime, timezone
from importlib.metadata import version

from croniter import croniter

PINNED = "7.0.0"

EXPRESSIONS = """
* * * * *
*/5 * * * *
*/7 * * * *
0 * * * *
30 * * * *
0,15,30,45 * * * *
10-40/10 * * * *
5-50/15 8-18 * * *
5/20 * * * *
59 23 * * *
0 0 * * *
0 3 * * *
30 2 * * *
0 */6 * * *
0 1-23/4 * * *
15 10,14,22 * * *
0 9-17 * * MON-FRI
0 10 * * TUE
0 10 * * tue,Thu
0 0 * * 0
0 0 * * 7
0 0 * * SUN
0 0 * * 5-7
0 0 * * 1-5/2
0 0 * * */2
0 0 1 * *
0 0 15 * *
0 0 31 * *
0 0 30 * *
0 0 29 * *
0 0 28-31 * *
0 0 */10 * *
0 0 1-31/7 * *
0 0 1 1 *
0 0 1 */3 *
0 0 1 JAN,JUL *
0 12 24 dec *
0 0 29 2 *
59 23 31 12 *
0 0 31 1,3,5,7,8,10,12 *
0 0 13 * 5
0 0 13 * FRI
0 0 1,15 * MON
30 4 1,15 * 5
0 0 29 2 1
0 0 30 2 WED
* * 29 2 *
*/15 0-2 1-7 * *
0 0 1-7 * 1
0 22 * 6-8 1-5
23 0-20/2 * * *
5 4 * * sun
0 0,12 1 */2 *
@yearly
@annually
@monthly
@weekly
@daily
@midnight
@hourly
""".split("\n")

# Seconds in front, as this program has them.
WITH_SECONDS = """
* * * * * *
*/2 * * * * *
*/10 * * * * *
30 0 3 * * *
15,45 30 6 * * 1
0 0 0 29 2 *
5-10/2 59 23 31 12 *
0 */20 * * * *
""".split("\n")

STARTS = [
    datetime(2027, 1, 30, 23, 58, 57, tzinfo=timezone.utc),
    datetime(2028, 2, 28, 12, 0, 0, tzinfo=timezone.utc),
]


def main():
    found = version("croniter")
    assert found == PINNED, f"needs croniter {PINNED}, found {found}"
    print(f"# The next ten firings by croniter {PINNED} (PyPI), in UTC. Written by generate.py.")
    print("# expression | start | ten firings")
    for seconds, expressions in ((False, EXPRESSIONS), (True, WITH_SECONDS)):
        for expression in filter(None, expressions):
            for start in STARTS:
                firings = croniter(expression, start, second_at_beginning=seconds, max_years_between_matches=100)
                ten = [firings.get_next(datetime) for _ in range(10)]
                print(expression, show(start), " ".join(map(show, ten)), sep=" | ")


def show(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


main()
