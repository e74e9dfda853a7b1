"""A client of gRPC, by `grpcio`, that makes every kind of call. Starts with {"address"}; tells what each call gave."""

import json
import sys

import grpc


def same(message):
    return message


def tell(**event):
    print(json.dumps(event), flush=True)


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


start = json.loads(sys.argv[1])
with grpc.insecure_channel(start["address"]) as channel:
    once = channel.unary_unary("/test.Echo/Once", same, same)
    many = channel.unary_stream("/test.Echo/Many", same, same)
    total = channel.stream_unary("/test.Echo/Total", same, same)
    talk = channel.stream_stream("/test.Echo/Talk", same, same)
    fail = channel.unary_unary("/test.Echo/Fail", same, same)
    wait = channel.unary_unary("/test.Echo/Wait", same, same)
    nowhere = channel.unary_unary("/elsewhere/Once", same, same)

    answer, call = once.with_call(b"hello", metadata=[("x-asked", "this")], timeout=10)
    tell(once=answer.decode(), told=dict(call.trailing_metadata()).get("x-told"))
    large = once(b"x" * 3_000_000, timeout=20)
    tell(large=len(large))
    tell(many=[answer.decode() for answer in many(b"5", timeout=10)])
    tell(total=total(iter([b"1", b"2", b"3"]), timeout=10).decode())

    # Each word is sent when the one before has come back.
    heard = []
    told = __import__("queue").Queue()
    answers = talk(iter(told.get, None), timeout=10)
    for word in ["one", "two", "three"]:
        told.put(word.encode())
        heard.append(next(answers).decode())
    told.put(None)
    tell(talk=heard, rest=list(answers))

    tell(fail=failure(lambda: fail(b"it", timeout=10)))
    tell(wait=failure(lambda: wait(b"", timeout=0.3)))
    tell(nowhere=failure(lambda: nowhere(b"", timeout=10)))
    for line in sys.stdin:
        tell(again=failure(lambda: once(b"hello", timeout=10)))
