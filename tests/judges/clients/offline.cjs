// Loaded before a judge: sockets to anywhere but this machine fail.
const net = require("node:net");
const local = new Set(["localhost", "127.0.0.1", "::1", undefined]);
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [options] = net._normalizeArgs ? net._normalizeArgs(given.flat()) : given;
  if (options && !options.path && !local.has(options.host)) {
    throw new Error(`not reachable here: ${options.host}`);
  }
  return connect.apply(this, given);
};
