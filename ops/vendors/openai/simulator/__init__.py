"""A stand-in for the OpenAI Realtime API (GA shape): `python -m ops.vendors.openai.simulator`.

Values and decisions, no sockets:
    events        what the server says: events, errors, closes, identifiers
    shapes        JSON shapes, and OpenAI's words for what does not fit
    validation    what a client may send
    settings      a session's configuration: defaults, updates
    codec         wire audio to 8 kHz mu-law and back
    vad           when somebody speaks
    recogniser    which line of the speech library was heard
    rules         what the model answers (`rules.json`)
    conversation  items, truncation, tokens
    incoming      what a client's items and audio mean
    hearing       the input audio buffer and the ear on it
    transcription the transcript of what was heard, as events
    usage limits  what responses cost, and what is left
    response      one response as a timeline of events
    responses     those of a session: created, followed, cut
    session       the state machine: client event and time in, server events out
    faults        what can be made to fail (`faults.json`)
Programs:
    connection    one websocket
    app           the routes
"""
