// SPDX-License-Identifier: GPL-3.0-or-later
// Real applications behind the gateway, each in a process of its own (apps/).
import { fileURLToPath } from 'node:url';

const APPS = fileURLToPath(new URL('../apps/', import.meta.url));

const start = async (world, name, command, args, env = {}) => {
  const port = await world.port();
  const process_ = await world.start(name, command, args(port), { cwd: APPS, port, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...env } });
  return { port, process: process_, url: `http://127.0.0.1:${port}` };
};

// `files` is a folder whose files are served under /file/.
export const startFlask = (world, files) => start(world, 'flask', 'gunicorn', (port) => [
  '--bind', `127.0.0.1:${port}`, '--worker-class', 'gthread', '--threads', '16', '--keep-alive', '30', '--worker-tmp-dir', world.dir,
  '--forwarded-allow-ips', '127.0.0.1', 'flask_app:app'], { FILES: files });

export const startStarlette = (world) => start(world, 'starlette', 'uvicorn', (port) => [
  '--host', '127.0.0.1', '--port', String(port), '--ws-max-size', String(8 << 20), '--log-level', 'warning', 'starlette_app:app']);

export const startQuart = (world) => start(world, 'quart', 'hypercorn', (port) => ['--bind', `127.0.0.1:${port}`, 'quart_app:app']);

export const startNode = (world) => start(world, 'node-app', process.execPath, (port) => ['--no-warnings', `${APPS}node_app.mjs`, String(port)]);
