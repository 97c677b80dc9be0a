"""A caller of the vault: one identity on a connection of its own, and what a refusal says."""

import grpc
from google.rpc import error_details_pb2, status_pb2
from idvault.v1 import (
    consent_service_pb2_grpc,
    record_service_pb2_grpc,
    retention_service_pb2_grpc,
    tenant_service_pb2_grpc,
    training_service_pb2_grpc,
)

DEADLINE_SECONDS = 30

# A connection of its own (channels to one address share one otherwise), and small windows that do not grow: what a slow
# reader has not asked for stays with the server.
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_536),
)


def open_channel(address, credentials, options):
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)


class Refused(Exception):
    """An answer other than OK: its status code and the reason in its ErrorInfo."""

    def __init__(self, error):
        self.code = error.code()
        self.reason = _reason(error)
        super().__init__(f"{self.code.name} {self.reason}: {error.details()}")


def _reason(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    assert info.domain == "idvault"
                    return info.reason
    return None


def result(stream, seconds):
    """What a stream under way answers, or Refused."""
    try:
        return stream.result(seconds)
    except grpc.RpcError as error:
        raise Refused(error) from None


class _Service:
    """A stub whose unary calls carry the caller and a deadline and raise Refused."""

    def __init__(self, stub, metadata):
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, rpc):
        def call(request):
            try:
                return getattr(self._stub, rpc)(request, metadata=self._metadata, timeout=DEADLINE_SECONDS)
            except grpc.RpcError as error:
                raise Refused(error) from None

        return call


class Caller:
    """An identity. Without TLS the vault knows it by the SPIFFE id that it sends, None sends nothing; with TLS, by the
    certificate in its credentials."""

    def __init__(self, address, spiffe_id, credentials=None):
        self._metadata = (("idvault-caller", spiffe_id),) if spiffe_id else ()
        self._channel = open_channel(address, credentials, OPTIONS)
        self._training = training_service_pb2_grpc.TrainingServiceStub(self._channel)
        self._records = record_service_pb2_grpc.RecordServiceStub(self._channel)
        self.tenants = self._service(tenant_service_pb2_grpc.TenantServiceStub(self._channel))
        self.records = self._service(self._records)
        self.consents = self._service(consent_service_pb2_grpc.ConsentServiceStub(self._channel))
        self.training = self._service(self._training)
        self.retention = self._service(retention_service_pb2_grpc.RetentionServiceStub(self._channel))

    def _service(self, stub):
        return _Service(stub, self._metadata)

    def begin_upload(self, messages):
        """An UploadRecord stream under way, which can be cancelled."""
        return self._records.UploadRecord.future(messages, metadata=self._metadata, timeout=DEADLINE_SECONDS)

    def fetch(self, request):
        """The messages of one FetchRecords stream, each asked for only when it is wanted."""
        stream = self._training.FetchRecords(request, metadata=self._metadata, timeout=DEADLINE_SECONDS)
        try:
            yield from stream
        except grpc.RpcError as error:
            raise Refused(error) from None
        finally:
            stream.cancel()

    def close(self):
        self._channel.close()
