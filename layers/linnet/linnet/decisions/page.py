"""How the page of a report looks: its style, and the head by which it fetches nothing and runs nothing."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #566072; --line: #d9dee6; --page: #fff;
  --base: #98a2b3; --now: #1f5fbf; --good: #146c37; --warn: #8a5300; --bad: #b3261e; --unknown: #4b5565 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #a5afbf; --line: #343b48; --page: #14171d;
  --base: #77839a; --now: #6ea8ff; --good: #5fce8b; --warn: #f0b357; --bad: #ff8f86; --unknown: #b3bccb } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
main { max-width: 42rem; margin: 0 auto; padding: 1rem 1rem 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .25rem 0 .5rem }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 1rem 0 0 }
p { margin: .35rem 0 }
a { color: var(--now) }
ul { margin: .5rem 0; padding: 0; list-style: none }
li { margin: 0 0 .6rem; padding-left: .75rem; border-left: 3px solid var(--line) }
li bdi, h3 bdi { font-weight: 600 }
header { border-left: .4rem solid var(--tone); padding-left: .9rem }
header h1, header strong { color: var(--tone) }
header p:not(.kind), .kind, figcaption p, .legend, li span, th, dt { color: var(--soft) }
header strong::before { content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  background: var(--tone); margin-right: .45em }
.good { --tone: var(--good) } .warn { --tone: var(--warn) } .bad { --tone: var(--bad) } .unknown { --tone: var(--unknown) }
.kind bdi { color: var(--ink); font-weight: 600 }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-left: .2em }
.b { background: var(--base); fill: var(--base) } .c { background: var(--now); fill: var(--now) } i.c { margin-left: 1em }
figure { margin: 1rem 0 1.75rem }
figcaption p { font-size: .9rem; margin: 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 400; vertical-align: top }
.bars { table-layout: fixed; margin-top: .4rem; font-size: .85rem; line-height: 1.25 }
.bars th { width: 34%; padding: .2rem .6rem .2rem 0; vertical-align: middle } .bars td { padding: .2rem 0 }
.bars td:last-child { width: 3.6rem; text-align: right; color: var(--soft) } .bars b { font-weight: 400; color: var(--ink) }
svg { display: block; width: 100%; height: 1.6rem }
.numbers { font-size: .9rem } .numbers tr { display: grid; grid-template-columns: 11rem 5rem 1fr; gap: 0 1rem;
  border-top: 1px solid var(--line); padding: .5rem 0 } .numbers thead tr { border: 0; padding: 0 }
.numbers td, .numbers th { padding: 0 } .numbers tbody th { color: var(--ink) } .numbers td:last-child { color: var(--soft) }
.numbers td span { display: inline-block; margin-right: .7em } .numbers td b { font-weight: 400; color: var(--ink) }
@media (max-width: 37rem) { .numbers tr { grid-template-columns: 1fr auto } .numbers td:last-child { grid-column: 1 / 3 }
  .numbers thead th:last-child { display: none } }
em { font-style: normal; font-size: .8rem; color: var(--tone); white-space: nowrap }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem 1rem; margin: .75rem 0 1.25rem }
dt { font-size: .85rem } dd { margin: 0; font-variant-numeric: tabular-nums }
.places { display: block; font-size: .9rem } .places dd { margin-bottom: .5rem }
"""
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; form-action 'none'">
"""
