"""A stand-in for the ngrok agent: `python -m ops.vendors.ngrok.simulator`.

http1       one HTTP/1.1 message at a time over asyncio streams
capture     what went through: metrics and the inspected requests (values)
errors      ngrok's error numbers, as pages and as start-up messages
faults      the catalogue of what can be made to fail
edge        the public side: forwards requests and websockets
agent       the API on port 4040
"""
