// SPDX-License-Identifier: GPL-3.0-or-later
// Every maximum of the daemon, in one list. No buffer exists without one of these.
#pragma once

enum {
    // HTTP requests and answers
    LIMIT_HEAD_BYTES = 32 * 1024,          // request head, request line included
    LIMIT_RESPONSE_HEAD_BYTES = 64 * 1024, // head of a backend's answer
    LIMIT_HEADERS = 128,                   // header fields of one head
    LIMIT_HEADERS_ADDED = 32,              // fields that the gateway adds to it
    LIMIT_METHOD_BYTES = 32,
    LIMIT_CONNECTION_OPTIONS = 32,  // names in all Connection fields of one head
    LIMIT_TARGET_BYTES = 16 * 1024, // request target
    LIMIT_CHUNK_LINE_BYTES = 256,   // one chunk-size line, extensions included
    LIMIT_TRAILER_BYTES = 8 * 1024, // all trailers of one body
    LIMIT_COOKIES = 128,            // cookie pairs looked at in one request
    LIMIT_FORM_BYTES = 256 * 1024,  // a body that the gateway reads itself (SAML POST)
    LIMIT_FORM_FIELDS = 16,
    LIMIT_QUERY_FIELDS = 32,
    LIMIT_EXCHANGE_ARENA = 1024 * 1024, // all memory of one request

    LIMIT_TLS_LATE_RECORDS = 64, // of the handshake, after it (KeyUpdate); one more for each MiB

    // Being behind another proxy
    LIMIT_PROXY_HEADER_BYTES = 2048, // a whole PROXY protocol header, TLVs included
    LIMIT_FORWARDED_HOPS = 32,       // elements of Forwarded; proxies looked at in X-Forwarded-For

    // HTTP/2
    LIMIT_H2_STREAM_WINDOW = 256 * 1024,    // request body of one stream that is not consumed yet
    LIMIT_H2_BUFFERED = 2 * 1024 * 1024,    // of all streams of a connection, then its window closes ...
    LIMIT_H2_CONN_WINDOW = 2 * 1024 * 1024, // ... and at most this much more arrives
    LIMIT_H2_CONTINUATIONS = 8,             // of one header block
    LIMIT_H2_FRAMES_BURST = 1000,           // frames without use (SETTINGS, PING, WINDOW_UPDATE, ...)
    LIMIT_H2_FRAMES_PER_SECOND = 200,       // that a connection may send,
    LIMIT_H2_FRAME_PER_BYTES = 1024,        // and one more for so many bytes of bodies
    LIMIT_H2_RESETS_BURST = 200,            // requests that a connection may have broken off
    LIMIT_H2_RESETS_PER_SECOND = 20,

    // Logins
    LIMIT_LOGIN_COOKIES = 7, // unfinished logins of one browser
    LIMIT_LOGIN_SECONDS = 600,
    LIMIT_TICKET_SECONDS = 30,
    LIMIT_LOGINS_PENDING = 512, // logins in work in the login thread; more get 503
    LIMIT_URL_BYTES = 4096,     // return targets, endpoints
    LIMIT_LOGIN_COOKIE_BYTES = 3800,
    LIMIT_LOGIN_COOKIES_TOTAL = 12 * 1024, // bytes; a request head must still fit beside them

    // Boards (Pico relay)
    LIMIT_PICO_DEVICES = 10000,
    LIMIT_PICO_DEVICES_BYTES = 16 * 1024 * 1024, // of the file that has them
    LIMIT_PICO_MESSAGE_BYTES = 64 * 1024,        // one message of a board
    LIMIT_PICO_FRAME_BYTES = 16 * 1024,          // one frame to a board: one TLS record, which it reads whole
    LIMIT_PICO_PLAIN_FRAME_BYTES = 1400,         // the same without TLS: one TCP segment
    LIMIT_PICO_FUNCTIONS = 64,                   // names that a board registers; more are ignored
    LIMIT_PICO_CALLS = 4,                        // calls that a board works on,
    LIMIT_PICO_CALLS_USER = 3,                   // of one user at most so many,
    LIMIT_PICO_QUEUE = 16,                       // and that wait for it; of these, of one user at most
    LIMIT_PICO_QUEUE_USER = 8,                   // so many
    LIMIT_PICO_DEPTH = 32,                       // nesting of arguments and answers
    LIMIT_PICO_ERROR_BYTES = 1024,               // a board's error message, the rest is cut off
    LIMIT_PICO_BROKEN = 3,            // messages in a row that are no JSON, then the link is closed
    LIMIT_PICO_MESSAGES_BURST = 2000, // of a board,
    LIMIT_PICO_MESSAGES_PER_SECOND = 1000,
    LIMIT_PICO_BYTES_BURST = 4 * 1024 * 1024, // and their bytes
    LIMIT_PICO_BYTES_PER_SECOND = 1024 * 1024,
    LIMIT_PICO_OUTPUT_BYTES = 128 * 1024, // frames that wait for a board that takes nothing
    LIMIT_PICO_FAILURE_SECONDS = 60,
    LIMIT_PICO_FAILURES = 20,            // refused logins of one address with one key in that time are logged
    LIMIT_PICO_LINKS_LOGGED = 20,        // links of one board in that time that the log has whole
    LIMIT_PICO_FAILURES_ADDRESS = 600,   // of one address in it; then it is refused before the upgrade
    LIMIT_PICO_EVENT_STREAMS = 1024,     // of a worker
    LIMIT_PICO_EVENT_STREAMS_USER = 16,  // of one visitor there
    LIMIT_PICO_LIST_BYTES = 1024 * 1024, // boards that one visitor is shown: names, and 32 for each of them

    // Messages of identity providers
    LIMIT_SAML_MESSAGE_BYTES = 128 * 1024, // decoded
    LIMIT_SAML_METADATA_BYTES = 8 * 1024 * 1024,
    LIMIT_JSON_BYTES = 256 * 1024, // discovery, JWKS, token and userinfo answers
    LIMIT_JWT_BYTES = 32 * 1024,
    LIMIT_JWKS_KEYS = 64,
    LIMIT_ATTRIBUTES = 256,           // attributes or claims kept of one login
    LIMIT_ATTRIBUTE_VALUES = 2048,    // values in total
    LIMIT_IDENTITY_BYTES = 64 * 1024, // an identity, encoded
    LIMIT_SESSION_BYTES = 128 * 1024, // a session record, encoded
    LIMIT_BACKCHANNEL_SECONDS = 10,   // one call to an identity provider
    LIMIT_JWKS_REFETCH_SECONDS = 60,  // at most one refetch in this time

    // Between processes
    LIMIT_WIRE_BYTES = 9 * 1024 * 1024, // one message
    LIMIT_VERIFY_SECONDS = 5,           // one message in a verifier, then it is killed
    LIMIT_VERIFIER_MEMORY = 1024 * 1024 * 1024,

    // Configuration
    LIMIT_CONFIG_BYTES = 1024 * 1024,
    LIMIT_CONFIG_ERRORS = 64, // reported in one check
    LIMIT_SECRET_BYTES = 4096,
    LIMIT_YAML_DEPTH = 16,
    LIMIT_YAML_ENTRIES = 4096,    // of one map or list
    LIMIT_PEM_BYTES = 256 * 1024, // a certificate chain or a key
};
