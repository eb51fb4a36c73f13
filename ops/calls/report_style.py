"""The style sheet of a call's report.html: light and dark, no request, no script. Pure data."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d2126; --soft: #5f6873; --line: #e3e0da;
  --caller: #0f7c80; --agent: #5b4fc4;
  --ok: #1f7a46; --warn: #96610a; --fail: #b3261e; --skip: #6b7280;
  --ok-bg: #e5f3ea; --warn-bg: #faefd9; --fail-bg: #fbe6e4; --skip-bg: #eeedea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1c2024; --ink: #e8e6e1; --soft: #9aa3ad; --line: #2e3439;
    --caller: #4fc0c2; --agent: #a79ff5;
    --ok: #74cf97; --warn: #e6b45c; --fail: #ff8f86; --skip: #9aa3ad;
    --ok-bg: #1b3325; --warn-bg: #3a2e16; --fail-bg: #41201e; --skip-bg: #272c31;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 .4rem; }
h1 .badge { vertical-align: .3rem; }
h2 { font-size: 1.05rem; margin: 2.75rem 0 .75rem; }
p { margin: .35rem 0; }
code { font: .875em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.badge {
  display: inline-block; padding: .1rem .55rem; border-radius: 1rem; font-size: .8125rem; font-weight: 600;
  white-space: nowrap; background: var(--skip-bg); color: var(--skip);
}
.ok { background: var(--ok-bg); color: var(--ok); }
.warn, .late, .simulated { background: var(--warn-bg); color: var(--warn); }
.fail, .missing, .error { background: var(--fail-bg); color: var(--fail); }
.live { background: var(--ok-bg); color: var(--ok); }
.badges { display: flex; flex-wrap: wrap; gap: .4rem; margin: .9rem 0 0; padding: 0; list-style: none; }
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr));
  gap: .75rem; margin: 1.75rem 0 0;
}
.figure, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
.figure { padding: .8rem 1rem; }
.figure dt { color: var(--soft); font-size: .8125rem; }
.figure dd { margin: 0; font-size: 1.375rem; font-weight: 600; letter-spacing: -0.01em; }
.card { padding: 1rem; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
.wave { min-width: 40rem; }
td code { white-space: nowrap; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
audio { width: 100%; margin-top: .9rem; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .8125rem; }
th, td { padding: .32rem .75rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
.bar { width: 45%; min-width: 11rem; }
.said { display: grid; grid-template-columns: 4rem 4.5rem 1fr; gap: .1rem .75rem; margin: 0; }
.said dt { display: contents; }
.said dd { margin: 0; grid-column: 3; }
.said .number { color: var(--soft); text-align: right; }
.caller { color: var(--caller); font-weight: 600; }
.agent { color: var(--agent); font-weight: 600; }
.findings { list-style: none; margin: 0; padding: 0; }
.findings li { display: grid; grid-template-columns: 4.25rem 1fr auto; gap: .75rem; padding: .55rem 0; }
.findings li + li { border-top: 1px solid var(--line); }
.findings .badge { justify-self: start; align-self: start; }
.findings p { margin: 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .8125rem; }
@media (max-width: 40rem) {
  .findings li { grid-template-columns: 4.25rem 1fr; }
  .findings code { grid-column: 2; }
  .bar { display: none; }
}
@media print { body { background: #fff; } audio { display: none; } .card, .figure { break-inside: avoid; } }
"""
