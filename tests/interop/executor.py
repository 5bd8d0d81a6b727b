"""nb_executor of <nibble/net.h> through ctypes: for nets that are run a thousand times or carry a state on.

The library is taken from beside the command ($NIBBLE). The structs follow the header field by field.
"""
import ctypes as c
import os

import numpy as np

import peer


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("room", c.c_char * 16), ("offset", c.c_uint64), ("message", c.c_char * 256)]


class Shape(c.Structure):
    _fields_ = [("input", c.c_char_p), ("dims", c.POINTER(c.c_int64)), ("rank", c.c_uint32)]


class Fixed(c.Structure):
    _fields_ = [("input", c.c_char_p), ("value", c.c_double), ("data", c.c_void_p)]


class Options(c.Structure):
    _fields_ = [("size", c.c_uint32), ("flags", c.c_uint32), ("threads", c.c_uint32),
                ("dims", c.c_void_p), ("n_dims", c.c_size_t),
                ("shapes", c.POINTER(Shape)), ("n_shapes", c.c_size_t),
                ("fixed", c.POINTER(Fixed)), ("n_fixed", c.c_size_t)]


class Port(c.Structure):
    _fields_ = [("name", c.c_char_p), ("type", c.c_char_p), ("rank", c.c_uint32), ("dims", c.c_int64 * 8),
                ("elements", c.c_uint64), ("bytes", c.c_uint64)]


class Failure(Exception):
    pass


class Executor:
    """shapes: name -> dimensions; fixed: name -> number. run takes and gives name -> array."""

    def __init__(self, path, shapes=None, fixed=None):
        self.lib = c.CDLL(os.path.join(os.path.dirname(peer.NIBBLE), "libnibble.so"))
        self.error = Error()
        self.ctx, self.e = c.c_void_p(), c.c_void_p()
        self.check(self.lib.nb_context_create(c.byref(self.ctx), None, c.byref(self.error)))
        o = Options()
        self.lib.nb_executor_options_init(c.byref(o))
        assert o.size == c.sizeof(Options), "the struct in executor.py is old"
        shapes, fixed = shapes or {}, fixed or {}
        o.shapes = (Shape * len(shapes))(*[Shape(k.encode(), (c.c_int64 * len(v))(*v), len(v)) for k, v in shapes.items()])
        o.n_shapes = len(shapes)
        o.fixed = (Fixed * len(fixed))(*[Fixed(k.encode(), v, None) for k, v in fixed.items()])
        o.n_fixed = len(fixed)
        self.check(self.lib.nb_executor_create(c.byref(self.e), self.ctx, path.encode(), c.byref(o), c.byref(self.error)))
        self.inputs = self.ports(self.lib.nb_executor_input)
        self.outputs = self.ports(self.lib.nb_executor_output)

    def check(self, status):
        if status != 0:
            raise Failure(self.error.message.decode(errors="replace"))

    def ports(self, ask):
        out, port = [], Port()
        while ask(self.e, c.c_size_t(len(out)), c.byref(port)) == 0:
            out.append((port.name.decode(), np.dtype(port.type.decode()), tuple(port.dims[:port.rank])))
        return out

    def run(self, feeds):
        ins = [np.ascontiguousarray(feeds[n], t) for n, t, _ in self.inputs]
        for x, (name, _, shape) in zip(ins, self.inputs):
            assert x.shape == shape, "%s is %s, not %s" % (name, x.shape, shape)
        outs = [np.empty(shape, t) for _, t, shape in self.outputs]
        self.check(self.lib.nb_executor_run(self.e, (c.c_void_p * len(ins))(*[x.ctypes.data for x in ins]),
                                            (c.c_void_p * len(outs))(*[y.ctypes.data for y in outs]), c.byref(self.error)))
        return {n: y for (n, _, _), y in zip(self.outputs, outs)}

    def close(self):
        self.lib.nb_executor_destroy(self.e)
        self.lib.nb_context_destroy(self.ctx)
