// SPDX-License-Identifier: Apache-2.0
/** Words that the two threads of the test of memory in use share. */
export const EPOCH = 0;
export const FIRST = 1;
export const SECOND = 2;
export const STOP = 3;
export const ROUNDS = 4;
export const WORDS = 5;
