"""A chat: each line read is something that a client did, each line printed is said to all of them."""
import json, sys
from urllib.parse import parse_qs

names = {}

def say(text):
    print(json.dumps({"data": text}), flush=True)

for line in sys.stdin:
    client = json.loads(line)
    id, event = client["id"], client["event"]
    if event == "open":
        names[id] = parse_qs(client["request"]["query"]).get("name", ["somebody"])[0]
        say(f"* {names[id]} is here, with {len(names) - 1} others")
    elif event == "message":
        say(f"{names[id]}: {client.get('data')}")
    elif event == "close":
        say(f"* {names.pop(id)} has left")
