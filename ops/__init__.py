"""Trunkline's inside, as a map.

Values describe, plans decide, edges act, findings answer; one printer speaks.

errors findings config services   values every other file may use
speech      recorded lines, G.711, levels in dBFS
net         talking to others: HTTP, the reconnecting websocket, when to try again
journal     structured logs: written, collected, analysed
vendors     twilio, openai, ngrok: wire, client, checks, and a simulator that knows none of these
apps        the programs we operate: the bridge and the web page
processes   our programs on this machine: plan, start, watch, stop
calls       the end-to-end test call and its judge
checks      the list of all checks, and the loop that runs them
report      the only file that prints
"""
