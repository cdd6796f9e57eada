# Payments are for the office network.
package vaultspan.deny

# for real: your network, such as 203.0.113.0/24
office := "127.0.0.2/32"

reasons contains "only from the office network" if {
	input.route.name == "payments"
	not net.cidr_contains(office, input.request.client_ip)
}
