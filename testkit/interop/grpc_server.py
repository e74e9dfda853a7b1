"""A server of gRPC: methods that echo, by `grpcio`. Starts with {"port"}; tells {"listening"}."""

import json
import sys
from concurrent import futures

import grpc


def same(message):
    return message


def once(request, context):
    context.set_trailing_metadata([("x-told", dict(context.invocation_metadata()).get("x-asked", "nothing"))])
    return request


def many(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def total(requests, context):
    return str(sum(int(request) for request in requests)).encode()


def talk(requests, context):
    for request in requests:
        yield request


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: " + request.decode())


def wait(request, context):
    while context.is_active():
        context.add_callback(lambda: None)
        import time

        time.sleep(0.05)
    return request


def method(make, behaviour):
    return make(behaviour, request_deserializer=same, response_serializer=same)


start = json.loads(sys.argv[1])
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers(
    [
        grpc.method_handlers_generic_handler(
            "test.Echo",
            {
                "Once": method(grpc.unary_unary_rpc_method_handler, once),
                "Many": method(grpc.unary_stream_rpc_method_handler, many),
                "Total": method(grpc.stream_unary_rpc_method_handler, total),
                "Talk": method(grpc.stream_stream_rpc_method_handler, talk),
                "Fail": method(grpc.unary_unary_rpc_method_handler, fail),
                "Wait": method(grpc.unary_unary_rpc_method_handler, wait),
            },
        )
    ]
)
server.add_insecure_port("127.0.0.1:%d" % start["port"])
server.start()
print(json.dumps({"listening": start["port"]}), flush=True)
server.wait_for_termination()
