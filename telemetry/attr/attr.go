// Package attr is the one list of the names that vaultspan gives to spans,
// attributes and metrics. Dashboards and alerts are built on them: treat a
// change here like a change of an API.
//
// The list is also a privacy boundary. There is no key for a header, a query,
// a body, a token or a value of a secret, so that none of them has a place in
// a trace. A key whose comment says "spans only" may have any number of values,
// or name what metrics must not: package telemetry drops it from metrics.
//
// It holds constants and nothing else, so every package may import it.
package attr

import "go.opentelemetry.io/otel/attribute"

// Scope is the instrumentation scope of the spans, metrics and logs that
// vaultspan makes itself.
const Scope = "github.com/vaultspan/vaultspan"

// The spans of one request, below its SERVER span ("POST stripe": the method
// and the route's name) and beside its CLIENT span ("POST api.stripe.com": the
// method and the upstream's host).
const (
	SpanAuthenticate = "authenticate" // from the caller's token to an identity
	SpanDecide       = "decide"       // from an identity to a decision
	SpanLease        = "lease"        // from a grant to a lease; linked to the fetch of the version
	SpanMint         = "mint"         // from a lease to one that wears a minted token
	SpanRecord       = "record"       // the wait until the intent is durable
	SpanSignIn       = "login"        // from an authorization response to a session; above the CLIENT span of the token endpoint
	SpanRefresh      = "refresh"      // of a session, at its issuer; likewise
)

// Spans that begin a trace of their own. They are always sampled: the spans of
// requests link to them, and a link must not dangle.
const (
	SpanSync  = "bitwarden sync"  // one refresh of a vault
	SpanRead  = "bitwarden read"  // one secret by itself, after an upstream refused it or at its first use
	SpanLogin = "bitwarden login" // a machine account's login, when it is not part of a sync
	SpanKeys  = "fetch keys"      // discovery and key set of one issuer
)

// Attributes of a request and of what became of it.
const (
	Route   = attribute.Key("vaultspan.route")            // the route's name in the configuration
	Refusal = attribute.Key("vaultspan.refusal")          // the code of a refusal, such as "denied"
	Attempt = attribute.Key("vaultspan.attempt")          // spans only: the attempt's id, as in the audit log
	Omitted = attribute.Key("vaultspan.identity.omitted") // spans only: on an attempt, what the upstream was not told of the caller, and why; never the value
)

// Attributes of the caller, on the authenticate span.
const (
	IdentityIssuer = attribute.Key("vaultspan.identity.issuer") // the issuer's name in the configuration
	IdentityKind   = attribute.Key("vaultspan.identity.kind")   // human, workload or agent
	IdentityMethod = attribute.Key("vaultspan.identity.method") // how it was proven: bearer or session
	IdentityActor  = attribute.Key("vaultspan.identity.actor")  // spans only: who acts for the user (pseudonymous like UserID)
	Session        = attribute.Key("vaultspan.session")         // spans only: keyed hash of a browser session's id, as in `vaultspan sessions list`
	SessionEnd     = attribute.Key("vaultspan.session.end")     // why a session ended: logout, idle, or another word of a closed list
)

// Attributes of the decision.
const (
	DecisionAllow    = attribute.Key("vaultspan.decision.allow")    // bool
	DecisionRole     = attribute.Key("vaultspan.decision.role")     // the role that allowed
	DecisionReason   = attribute.Key("vaultspan.decision.reason")   // spans only: why not, in the policy's words
	DecisionRevision = attribute.Key("vaultspan.decision.revision") // spans only: which policy and data decided
	DecisionCached   = attribute.Key("vaultspan.decision.cached")   // bool: answered from memory
	Collection       = attribute.Key("vaultspan.collection")        // "vault/collection"
)

// Attributes of a secret: which one and which version, never its value.
const (
	SecretName        = attribute.Key("vaultspan.secret.name")        // spans only: the name within its collection
	SecretID          = attribute.Key("vaultspan.secret.id")          // the vault's own id of the secret: what metrics use in place of the name
	SecretCollection  = attribute.Key("vaultspan.secret.collection")  // "vault/collection"
	SecretVersion     = attribute.Key("vaultspan.secret.version")     // spans only: revision date and fingerprint
	SecretFingerprint = attribute.Key("vaultspan.secret.fingerprint") // spans only: keyed hash of the value
	SecretAge         = attribute.Key("vaultspan.secret.age")         // spans only: seconds since the value was last confirmed
	SecretStale       = attribute.Key("vaultspan.secret.stale")       // bool: used past its refresh, or past stale of max_age
	SecretReflected   = attribute.Key("vaultspan.secret.reflected")   // spans only: where the upstream sent the credential back, and what was done
	Minted            = attribute.Key("vaultspan.minted")             // spans only: the attempt that minted the token which is worn
	Vault             = attribute.Key("vaultspan.vault")              // the vault's name in the configuration
)

// Attributes of the audit record.
const (
	AuditSeq    = attribute.Key("vaultspan.audit.seq")    // spans only: the intent's sequence number
	AuditWait   = attribute.Key("vaultspan.audit.wait")   // spans only: seconds until the intent was durable
	AuditKind   = attribute.Key("vaultspan.audit.kind")   // intent, outcome, refusal or change
	AuditResult = attribute.Key("vaultspan.audit.result") // of a record: written or lost
)

// Attributes of the gateway's own work.
const (
	Result = attribute.Key("vaultspan.result") // how an operation ended: ok, or a word of a closed list
	Signal = attribute.Key("vaultspan.signal") // of telemetry: traces, metrics or logs

	Operation = attribute.Key("vaultspan.operation") // of the session store: find, touch, or another word of a closed list
)

// Attributes that OpenTelemetry's semantic conventions (1.43) name.
const (
	HTTPRequestMethod      = attribute.Key("http.request.method")       // a known method, or _OTHER
	HTTPResponseStatusCode = attribute.Key("http.response.status_code") // int
	HTTPRoute              = attribute.Key("http.route")                // the pattern that matched, never the path
	URLScheme              = attribute.Key("url.scheme")
	URLPath                = attribute.Key("url.path")       // spans only; there is no key for the query
	ServerAddress          = attribute.Key("server.address") // of the request: our host; of an attempt: the upstream's
	ServerPort             = attribute.Key("server.port")
	ClientAddress          = attribute.Key("client.address") // spans only
	NetworkProtocolVersion = attribute.Key("network.protocol.version")
	UserID                 = attribute.Key("user.id")    // spans only: Telemetry.UserID, pseudonymous by default
	ErrorType              = attribute.Key("error.type") // a word of a closed list, never an error's text
)

// Metrics of requests. By Route, HTTPResponseStatusCode and Refusal.
const (
	MetricRequests          = "vaultspan.requests"            // counter: requests answered
	MetricRequestDuration   = "http.server.request.duration"  // histogram, s: until the last byte; with exemplars
	MetricInflight          = "vaultspan.requests.inflight"   // up-down counter: requests at this moment, by Route
	MetricAttemptDuration   = "http.client.request.duration"  // histogram, s: until the upstream's headers, by Route
	MetricTokens            = "vaultspan.tokens"              // counter: tokens judged, by IdentityIssuer and Result
	MetricKeyFetches        = "vaultspan.issuer.key_fetches"  // counter: by IdentityIssuer and Result
	MetricKeyAge            = "vaultspan.issuer.key_age"      // gauge, s: since the keys were last fetched, by IdentityIssuer
	MetricLeaseUses         = "vaultspan.secret.uses"         // counter: leases put on an attempt, by Route, SecretID and SecretStale
	MetricSecretAge         = "vaultspan.secret.age"          // gauge, s: since the value was last confirmed, by Vault and SecretID
	MetricSecretValueAge    = "vaultspan.secret.value_age"    // gauge, s: since the value last changed, by Vault and SecretID
	MetricSecretStaleness   = "vaultspan.secret.staleness"    // gauge: by max_age and expires 0, 1 from warn on, 2 stale, 3 refused; by Vault and SecretID
	MetricSecretExpires     = "vaultspan.secret.expires"      // gauge, s: the Unix time of expires, where a note says it, by Vault and SecretID
	MetricSyncs             = "vaultspan.vault.syncs"         // counter: by Vault and Result
	MetricSyncDuration      = "vaultspan.vault.sync.duration" // histogram, s: by Vault and Result
	MetricSecretReflections = "vaultspan.secret.reflections"  // counter: credentials that an upstream sent back, by Route and Result (masked, blocked, cut)
)

// Metrics of the audit log.
const (
	MetricAuditRecords     = "vaultspan.audit.records"      // counter: by AuditKind and AuditResult
	MetricAuditWait        = "vaultspan.audit.wait"         // histogram, s: what intents waited
	MetricAuditSync        = "vaultspan.audit.sync"         // histogram, s: one fsync
	MetricAuditQueue       = "vaultspan.audit.queue"        // gauge: records not yet written
	MetricAuditWritable    = "vaultspan.audit.writable"     // gauge: 1 or 0
	MetricAuditUnavailable = "vaultspan.audit.unavailable"  // counter: requests refused because no record could be written
	MetricAuditAggregated  = "vaultspan.audit.aggregated"   // counter: refusals counted in an aggregate
	MetricAuditCheckpoints = "vaultspan.audit.checkpoints"  // counter: checkpoints signed
	MetricAuditSize        = "vaultspan.audit.segment.size" // gauge, By: the open segment's
)

// Metrics of the gateway itself.
const (
	MetricConfigReloads    = "vaultspan.config.reloads"    // counter: by Result (ok, refused)
	MetricConfigGood       = "vaultspan.config.good"       // gauge: 1 when the file on disk is what is served
	MetricTelemetryDropped = "vaultspan.telemetry.dropped" // counter: spans, log records or metric exports not delivered, by Signal
)

// Attributes of a hop to Bitwarden.
const (
	URLTemplate      = attribute.Key("url.template")            // spans only: the path with {id} for ids, as in OpenTelemetry's conventions
	ResponseBodySize = attribute.Key("http.response.body.size") // spans only: bytes
)

// Metrics of a vault as a whole.
const (
	MetricRenewals = "vaultspan.vault.renewals" // counter: versions looked for after an upstream refused one, by Vault and Result
	MetricVaultAge = "vaultspan.vault.age"      // gauge, s: since the last good refresh began, by Vault
)

// Metrics of browser sessions.
const (
	MetricSessionLogins        = "vaultspan.sessions.logins"         // counter: logins that ended, well or not, by IdentityIssuer and Result
	MetricSessionRefreshes     = "vaultspan.sessions.refreshes"      // counter: by IdentityIssuer and Result (ok, refused, unavailable)
	MetricSessionsEnded        = "vaultspan.sessions.ended"          // counter: sessions that this node ended, by SessionEnd
	MetricSessionStoreErrors   = "vaultspan.sessions.store.errors"   // counter: by Operation
	MetricSessionStoreDuration = "vaultspan.sessions.store.duration" // histogram, s: by Operation
)

// Metrics of package authn's memory of verified tokens.
const (
	MetricTokenCacheHits = "vaultspan.tokens.cache.hits" // counter: tokens accepted from memory
	MetricTokenCacheSize = "vaultspan.tokens.cache.size" // gauge, By: what the memory holds
)

// More metrics of the audit log.
const (
	MetricAuditFailures = "vaultspan.audit.failures" // counter: writes, fsyncs and openings of a segment that failed
)
