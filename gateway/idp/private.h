// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of the login thread. Everything here runs on that thread alone, except idp_submit, idp_status
// and idp_stop (idp.c). Nothing blocks: each step starts a fetch or a verifier task and goes on in its
// `done`.
//
//   idp.c       thread, queue of jobs, loop
//   flow.c      begin, wait and end of one login
//   oidc.c      OpenID Connect logins
//   saml.c      SAML logins
//   fetch.c     one HTTP exchange with an identity provider
//   verifier.c  connections to the verifier processes
//   refresh.c   when documents are fetched, which are usable
//   document.c  how one document becomes the good copy
//   disk.c      last good copies in the state directory
#pragma once

#include <curl/curl.h>
#include <pthread.h>

#include "gateway/idp/idp.h"
#include "gateway/verifier/verify_proto.h"

int64_t mono_ms(void); // for intervals
int64_t wall_s(void);  // for what identity providers say

// ---- fetch.c

struct fetch_request {
    struct str url;
    struct str body;          // absent: GET; otherwise a form to POST
    struct str authorization; // value of the header, absent: none
    struct str ca_pem;        // absent: the system's
    const char *accept;
    size_t max; // bytes of the answer
};
struct fetch {
    void (*done)(struct fetch *f); // called exactly once; the fetch is freed after it
    void *context;
    struct err err; // ERR_NONE: an HTTP answer came; its status may be anything but a redirect
    long status;
    struct str content_type;
    struct str body;
    struct fetch_private *private;
};
// Copies what it needs. `done` is never called from inside fetch_start. False: not possible, `done` will not
// be called.
bool fetch_start(struct idp *idp, const struct fetch_request *r, void (*done)(struct fetch *), void *context,
                 struct err *err);
void fetch_perform(struct idp *idp);       // lets curl work, calls `done` of what has ended
void fetch_drop_all(struct idp *idp);      // without `done`
bool fetch_is_json(const struct fetch *f); // application/json, RFC 9110 media type comparison

// ---- verifier.c

struct verify_task {
    struct str frame_payload; // encoded request, owned by the task's arena
    struct arena *arena;
    struct idp_provider *needs;  // whose SAML metadata the verifier must have; NULL: none
    struct idp_provider *checks; // VERIFY_SAML_METADATA: whose metadata a candidate is for
    int64_t id, give_up_at;      // of waiting for a free verifier
    void (*done)(struct verify_task *t, const struct verify_reply *r); // r->err tells; freed after it
    void *context;
    struct verify_task *next;
};
// Encodes `q` (id and now are set here) and queues it. `needs`: the SAML provider whose metadata the verifier
// must have first; for VERIFY_SAML_METADATA the provider that it is about. False: too large or out of memory;
// `done` will not be called.
bool verify_submit(struct idp *idp, struct verify_request *q, struct idp_provider *needs,
                   void (*done)(struct verify_task *, const struct verify_reply *), void *context,
                   struct err *err);

enum slot_step { SLOT_IDLE, SLOT_SETUP, SLOT_METADATA, SLOT_TASK };
struct verifier_slot {
    int fd; // -1: no process at the moment
    uint32_t serial;
    enum slot_step step;      // what the outstanding message is
    struct verify_task *task; // the task it works for
    int64_t id;               // of the outstanding message
    int64_t deadline;         // for its answer
    bool has_setup;
    uint64_t *metadata;       // generation that the process has, per provider; 0: none or another
    uint64_t sent_generation; // SLOT_METADATA
    char *out;                // frame being written
    size_t out_n, out_done;
    char *in; // frame being read, head included
    size_t in_n, in_need;
};
bool verifier_pool_init(struct idp *idp);
void verifier_pool_done(struct idp *idp);
void verifier_attach(struct idp *idp, uint32_t slot, uint32_t serial, int fd); // takes fd
void verifier_tick(struct idp *idp, int64_t now);                              // deadlines, next tasks
void verifier_io(struct idp *idp, struct verifier_slot *s, short revents);
int64_t verifier_deadline(const struct idp *idp); // INT64_MAX: none

// ---- document.c, disk.c, refresh.c

enum document_kind { DOCUMENT_METADATA, DOCUMENT_DISCOVERY, DOCUMENT_JWKS };
struct document {
    enum document_kind kind;
    struct idp_provider *provider;
    char *text; // the last good copy, NULL: none
    size_t n;
    uint64_t generation; // grows with every good copy
    int64_t fetched;     // wall clock
    bool from_disk;
    bool in_flight; // being fetched or checked
    bool stale;     // its address changed while it was in flight
    bool disk_tried;
    int64_t next;         // mono: when to fetch again
    int64_t last_attempt; // mono, its begin or end; 0: never
    int64_t backoff;      // ms
    // A metadata file as it was when read.
    int64_t file_mtime, file_size;
};

struct idp_provider {
    struct idp *idp;
    const struct provider *config;
    struct document metadata, discovery, jwks;
    int64_t valid_until;           // SAML, 0: not limited
    struct arena *endpoints_arena; // OIDC, NULL: no discovery yet
    struct oidc_provider endpoints;
    int64_t keys_refetched; // mono, for unknown keys; 0: never
    struct flow *waiting;
    struct idp_status status; // guarded by idp->lock
};

enum { NEED_START = 1, NEED_FINISH = 2 };
enum ensure { ENSURE_READY, ENSURE_WAIT, ENSURE_UNAVAILABLE };
// Whether logins of this provider can go on. ENSURE_WAIT: an attempt is under way, flows that wait are
// resumed after it.
enum ensure refresh_ensure(struct idp_provider *p, int need);
// Fetches the provider's keys (JWKS, or SAML metadata) again because of one that is not known. False: that
// was done less than a minute ago.
bool refresh_unknown_key(struct idp_provider *p);
void refresh_init(struct idp *idp);
void refresh_done(struct idp *idp);
void refresh_tick(struct idp *idp, int64_t now);
int64_t refresh_deadline(const struct idp *idp);
// Called by document.c when an attempt has ended.
void refresh_ended(struct document *d, bool good, const struct err *err);

void document_load_disk(struct document *d); // then fetches
void document_fetch(struct document *d);
bool document_file_changed(const struct document *d); // metadata from a file
struct str document_source(const struct document *d); // URL or path it comes from; absent: not known yet
int64_t document_interval(const struct document *d);  // ms between refreshes

// A copy begins with a line that names its source, so that a copy of another provider under the same key is
// never believed.
bool disk_load(const struct idp *idp, const struct document *d, struct arena *a, struct str *ret_text,
               int64_t *ret_time);
void disk_save(const struct idp *idp, const struct document *d); // failures are logged

// ---- flow.c, oidc.c, saml.c

struct flow {
    struct idp *idp;
    struct idp_job *job;
    struct idp_provider *provider;
    struct arena *arena;
    void (*resume)(struct flow *f);
    struct flow *next_waiting;
    struct flow *prev, *next; // of all that are under way
    struct str token_response, identity, id_token;
    bool keys_refetched;
};
void flow_begin(struct idp *idp, struct idp_job *job);
void flow_fail(struct flow *f, const struct err *err); // ends it
void flow_fail_code(struct flow *f, enum err_code code, const char *detail);
void flow_done(struct flow *f);
void flow_wait(struct flow *f, void (*resume)(struct flow *f));
void flow_resume_waiting(struct idp_provider *p);
// Sends `q` about the flow's provider to a verifier; the flow fails when that is not possible.
void flow_verify(struct flow *f, struct verify_request *q, bool needs_metadata,
                 void (*done)(struct verify_task *, const struct verify_reply *));
// The identity of a reply becomes the job's. False: the flow has failed.
bool flow_take_identity(struct flow *f, struct str encoded);
void flow_fail_all(struct idp *idp, enum err_code code);

void oidc_flow_start(struct flow *f);
void oidc_flow_finish(struct flow *f);
void saml_flow_start(struct flow *f);
void saml_flow_finish(struct flow *f);

// ---- idp.c

struct idp {
    const struct config *config;
    struct arena *arena; // as long as the thread
    struct saml_sp sp;
    int control;
    pthread_t thread;
    CURLM *multi;
    struct fetch_private *fetches;

    struct idp_provider *providers; // config->nproviders
    struct verifier_slot *slots;
    size_t nslots;
    struct verify_task *tasks, **tasks_tail;
    int64_t next_id;
    struct flow *flows;

    pthread_mutex_t lock; // the next three and the providers' status
    struct idp_job *jobs, **jobs_tail;
    size_t pending;
    bool stopping;
};
void idp_job_ended(struct idp *idp, struct idp_job *job);
