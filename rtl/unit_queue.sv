// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The queue in front of one unit: commands in order, the head held back until its tokens are satisfied, a count of what has
// retired in this run. `nop` is executed here: it retires when its tokens are satisfied and all commands before it have
// retired. The head has registers of its own, so that no wide multiplexer works in every cycle.
module unit_queue
  import systole_pkg::*;
#(
  parameter int unsigned DEPTH  = 8,  // behind the head
  parameter int unsigned FLIGHT = 4   // commands inside the unit at a time
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          halt_i,
  input  logic          start_i,        // a run begins: counts are 0 again
  input  logic          room_i,         // the events of what is issued now can be kept
  input  logic          push_valid_i,
  input  logic [1023:0] push_command_i,
  input  logic [255:0]  push_windows_i, // {high, low} of 4 addresses, the first lowest
  input  logic [31:0]   push_index_i,
  output logic          push_ready_o,
  input  logic [23:0]   retired_i [UNITS],
  input  logic [63:0]   cycle_i,        // of the run

  output logic          command_valid_o,
  output logic [1023:0] command_o,
  output logic [31:0]   window_low_o  [4],
  output logic [31:0]   window_high_o [4],
  input  logic          command_ready_i,
  input  logic          retire_i,

  output logic          retire_o,       // with nops
  output logic [31:0]   index_o,        // of the oldest command that has not retired
  output logic [63:0]   start_o,        // when the unit took it
  output logic [23:0]   retired_o,
  output logic          waiting_o,      // a token of the head is missing
  output logic [7:0]    queued_o,       // for debugging: with the head
  output logic [7:0]    inside_o
);
  localparam int unsigned BITS = $clog2(DEPTH);
  localparam int unsigned FLIGHT_BITS = $clog2(FLIGHT);
  localparam int unsigned INDEX_BITS = $clog2(2 * (DEPTH + 1 + FLIGHT));

  logic [1023:0]       command_q [DEPTH];
  logic [255:0]        windows_q [DEPTH];
  logic [31:0]         index_q   [2**INDEX_BITS];
  logic [BITS-1:0]     head_q, tail_q;
  logic [BITS:0]       count_q;
  logic                valid_q, nop_q;
  logic [255:0]        head_windows_q;
  logic [31:0]         tokens_q [4];
  logic [INDEX_BITS-1:0] index_tail_q, index_head_q;
  logic [3:0]          flight_q;
  logic [63:0]         start_q   [FLIGHT];
  logic [FLIGHT_BITS-1:0] start_tail_q, start_head_q;

  logic missing, taken, nop_done, refill;
  always_comb begin
    missing = 1'b0;
    if (valid_q) begin
      for (int unsigned t = 0; t < 4; t++) begin
        if (tokens_q[t][23:0] != '0) begin
          if (tokens_q[t][31:28] != '0 || tokens_q[t][27:24] >= 4'(UNITS)) missing = 1'b1;
          else if (retired_i[tokens_q[t][26:24]] < tokens_q[t][23:0]) missing = 1'b1;
        end
      end
    end
  end
  assign waiting_o       = valid_q && missing;
  assign queued_o        = 8'(count_q) + 8'(valid_q);
  assign inside_o        = 8'(flight_q);
  assign command_valid_o = valid_q && !missing && !nop_q && !halt_i && room_i && flight_q < 4'(FLIGHT);
  assign taken           = command_valid_o && command_ready_i;
  assign nop_done        = valid_q && !missing && nop_q && !halt_i && room_i && flight_q == '0;
  assign retire_o        = retire_i || nop_done;
  assign refill          = (!valid_q || taken || nop_done) && count_q != '0;
  assign push_ready_o    = count_q < (BITS + 1)'(DEPTH);
  assign index_o         = index_q[index_head_q];
  assign start_o         = nop_done ? cycle_i : start_q[start_head_q];
  for (genvar i = 0; i < 4; i++) begin : g_window
    assign window_low_o[i]  = head_windows_q[64*i+:32];
    assign window_high_o[i] = head_windows_q[64*i+32+:32];
  end

  always_ff @(posedge clk_i) begin
    if (push_valid_i && push_ready_o) begin
      command_q[tail_q]     <= push_command_i;
      windows_q[tail_q]     <= push_windows_i;
      index_q[index_tail_q] <= push_index_i;
    end
    if (taken) start_q[start_tail_q] <= cycle_i;
    if (refill) begin
      command_o      <= command_q[head_q];
      head_windows_q <= windows_q[head_q];
      nop_q          <= command_q[head_q][7:0] == OPCODE_NOP;
      tokens_q[0]    <= command_q[head_q][95:64];
      tokens_q[1]    <= command_q[head_q][127:96];
      tokens_q[2]    <= command_q[head_q][159:128];
      tokens_q[3]    <= command_q[head_q][191:160];
    end
  end

  always_ff @(posedge clk_i) begin
    if (push_valid_i && push_ready_o) begin
      tail_q       <= tail_q + 1'b1;
      index_tail_q <= index_tail_q + 1'b1;
    end
    if (refill) head_q <= head_q + 1'b1;
    if (refill) valid_q <= 1'b1;
    else if (taken || nop_done) valid_q <= 1'b0;
    count_q  <= count_q + (BITS + 1)'(push_valid_i && push_ready_o) - (BITS + 1)'(refill);
    flight_q <= flight_q + 4'(taken) - 4'(retire_i);
    if (taken) start_tail_q <= start_tail_q + 1'b1;
    if (retire_i) start_head_q <= start_head_q + 1'b1;
    if (retire_o) begin
      retired_o    <= retired_o + 1'b1;
      index_head_q <= index_head_q + 1'b1;
    end
    if (start_i) retired_o <= '0;
    if (!rst_ni) begin
      head_q       <= '0;
      tail_q       <= '0;
      index_tail_q <= '0;
      index_head_q <= '0;
      count_q      <= '0;
      flight_q     <= '0;
      start_tail_q <= '0;
      start_head_q <= '0;
      valid_q      <= 1'b0;
      retired_o    <= '0;
    end
  end
endmodule
