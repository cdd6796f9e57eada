# The policy that ships: who has a role, and what the role reaches.
#
# A route that names secrets wants a role of the caller that reaches the
# secret's collection with the request's method. A route that lists roles in
# allow wants one of those. A route with both wants one role that does both. A
# route with neither is closed.
#
# data.rbac is prepared by the engine so that every lookup below is by key:
# the cost of a decision follows the roles the caller has, not the roles there
# are. Nothing here reads the clock. Reasons go to the caller, so they name no
# role and no collection.
package vaultspan

# Whatever no rule below answers is refused.
default decision := {
	"allow": false,
	"reason": "route-closed: this route grants nothing to anybody",
	"role": "",
	"secret": "",
}

decision := {"allow": true, "reason": "granted", "role": role, "secret": secret} if {
	[secret, role] := grant
}

decision := {"allow": false, "reason": reason, "role": "", "secret": ""} if {
	not grant
	reason := refusal
}

# grant is the secret and the role that reaches it. Of several secrets the first
# of the route's that can be reached is granted, and of several roles the first
# by name: the same question always has the same answer.
grant := [secret, role] if {
	reachable := [candidate |
		some candidate in input.route.secrets
		reaching(candidate) != set()
	]
	secret := reachable[0]
	role := min(reaching(secret))
}

grant := ["", role] if {
	input.route.secrets == []
	input.route.allow != []
	role := min(eligible)
}

# reaching is the eligible roles whose grants hold the secret's collection with
# this method, or with any. A reference is vault/collection/name, exactly: a
# fourth part would be a second way to say where the collection ends.
reaching(secret) := {role |
	some role in eligible
	[vault, collection, _] = split(secret, "/")
	some method in [input.request.method, "*"]
	data.rbac.grants[role][concat("/", [vault, collection])][method]
}

# eligible is the roles that count on this route: all that the caller has, or
# those of them that the route allows.
eligible := roles if input.route.allow == []

eligible := {role | some role in input.route.allow; role in roles} if {
	input.route.allow != []
}

# roles is every role that has a member the caller matches: the member is filed
# under one fact that is true of the caller, and the others it needs are true too.
roles contains member.role if {
	some fact in facts
	some member in data.rbac.members[input.identity.issuer][fact[0]][fact[1]][fact[2]]
	every need in member.needs {
		need in facts
	}
}

# facts is what is true of the caller, as [field, path, value]. Only claims have
# a path. A token's own roles are facts about it and never by themselves a role.
facts contains ["anyone", "", ""]

facts contains ["subject", "", input.identity.subject]

facts contains ["email", "", input.identity.email]

facts contains ["kind", "", input.identity.kind]

facts contains ["groups", "", group] if some group in input.identity.groups

facts contains ["roles", "", role] if some role in input.identity.roles

facts contains ["claims", path, value] if {
	some path, values in input.identity.claims
	some value in values
}

# refusal says what was missing, the first word for machines.
refusal := "no-role: no role is granted to this identity" if {
	asked
	roles == set()
} else := "role-not-allowed: this route is for other roles" if {
	asked
	eligible == set()
} else := "not-granted: no role of this identity may use this method with what this route needs" if {
	asked
}

asked if input.route.secrets != []

asked if input.route.allow != []
