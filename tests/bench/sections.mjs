// SPDX-License-Identifier: GPL-3.0-or-later
export { requests } from './section_requests.mjs';
export { transfers } from './section_transfers.mjs';
export { handshakes } from './section_handshakes.mjs';
export { idle } from './section_idle.mjs';
export { sessions } from './section_sessions.mjs';
export { boards } from './section_boards.mjs';
