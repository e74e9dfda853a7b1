#!/bin/sh
# Makes an authority of your own (ca.pem), certificates of it for the sites of ../tls.lua, and one for a client.
# They are written beside this script; what is there already stays.
set -eu
cd "$(dirname "$0")"
umask 077

key() {
	openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null ||
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# certificate NAME SUBJECT EXTENSIONS…
certificate() {
	name=$1 subject=$2
	shift 2
	[ ! -e "$name.pem" ] || return 0
	key "$name"
	printf '%s\n' "$@" >"$name.extensions"
	openssl req -new -key "$name.key" -subj "/CN=$subject" |
		openssl x509 -req -days 825 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile "$name.extensions" -out "$name.pem" 2>/dev/null
	rm "$name.extensions"
}

if [ ! -e ca.pem ]; then
	key ca
	openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=an authority of my own" \
		-addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem
fi
for site in a b c; do
	certificate $site $site.example "subjectAltName=DNS:$site.example" extendedKeyUsage=serverAuth
done
certificate client alice extendedKeyUsage=clientAuth
