// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The accelerator: everything between the link and the scratchpad. This module wires the parts, knows the state of the run
// (active, cycles, retired commands, watchdog), says for each unit what it does in a cycle, and picks the first error.
//
// Boundary: register bus (a read is answered in the next cycle), 8-byte beats in and out with valid and ready, event
// records, an interrupt. The rate of the link is the business of who drives the beats. retire_o, retire_index_o and run_cycle_o show
// an observer each command in the cycle after its last write; idle_o: nothing changes any more but `cycle`.
module systole_rtl
  import systole_pkg::*;
#(
  parameter int unsigned CORES                     = 1,
  parameter int unsigned ROWS                      = 16,
  parameter int unsigned COLUMNS                   = 16,
  parameter int unsigned TAPS                      = 3,
  parameter int unsigned SCRATCHPAD_BYTES          = 8388608,
  parameter int unsigned BANKS                     = 16,
  parameter int unsigned ACCUMULATORS              = 512,
  parameter int unsigned WEIGHT_PORT_ROWS          = 4,
  parameter int unsigned LINK_MILLIBYTES_PER_CYCLE = 800,
  parameter int unsigned CLOCK_HZ                  = 500000000,
  parameter logic [31:0] TARGET_ID                 = 32'd0
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         register_write_i,
  input  logic         register_read_i,
  input  logic [11:0]  register_address_i,
  input  logic [63:0]  register_data_i,
  output logic [63:0]  register_data_o,
  input  logic         stream_in_valid_i,
  input  logic [63:0]  stream_in_data_i,
  output logic         stream_in_ready_o,
  output logic         stream_out_valid_o,
  output logic [63:0]  stream_out_data_o,
  input  logic         stream_out_ready_i,
  output logic         event_valid_o,
  output logic [511:0] event_o,
  input  logic         event_ready_i,
  output logic         interrupt_o,
  output logic         idle_o,
  output logic [4:0]   retire_o,
  output logic [31:0]  retire_index_o [UNITS],
  output logic [31:0]  run_token_o,
  output logic [63:0]  run_cycle_o
);
  localparam int unsigned WORD = 8 * COLUMNS;
  localparam int unsigned ARRAY_PORTS = 8 + WEIGHT_PORT_ROWS;
  localparam int unsigned DEPTHWISE_PORTS = TAPS + 1;
  localparam int unsigned ELEMENTWISE_PORTS = 2;
  localparam logic [7:0] UNIT_NONE = 8'd255;

  logic soft_reset, rst_n, halt, started;
  assign rst_n = rst_ni && !soft_reset;

  // -------------------------------------------------------------------------------------------------- the run
  logic        launch, running_q, complete;
  logic [63:0] descriptor [12];
  logic [63:0] cycle_q, run_cycles_q;
  logic [31:0] token_q;
  logic [31:0] retired_q;                  // commands of this run
  logic [31:0] silent_q;                   // cycles since the last one
  logic [31:0] watchdog_limit;
  logic        watchdog;
  logic        still;                      // a debugger holds the run and nothing is left to do
  logic        retire   [UNITS];
  logic [31:0] index    [UNITS];
  logic [63:0] start    [UNITS];
  logic [2:0]  retiring;
  assign run_token_o    = token_q;
  assign run_cycle_o    = run_cycles_q;
  assign watchdog_limit = descriptor[1][31:0] == '0 ? DEFAULT_WATCHDOG_CYCLES : descriptor[1][31:0];
  assign complete       = running_q && retired_q == descriptor[0][63:32] && !halt;
  assign watchdog       = running_q && silent_q >= watchdog_limit;
  assign retire_index_o = index;
  always_comb begin
    retiring = '0;
    for (int unsigned u = 0; u < UNITS; u++) begin
      retire_o[u] = retire[u] && !halt;
      retiring = retiring + 3'(retire_o[u]);
    end
  end

  always_ff @(posedge clk_i) begin
    cycle_q <= cycle_q + 64'd1;
    if (running_q && !still && !halt) begin
      run_cycles_q <= run_cycles_q + 64'd1;
      retired_q    <= retired_q + 32'(retiring);
      silent_q     <= retiring != '0 ? '0 : silent_q + 32'd1;
      if (complete) running_q <= 1'b0;
    end
    if (launch) begin
      running_q    <= 1'b1;
      token_q      <= descriptor[0][31:0];
      run_cycles_q <= '0;
      retired_q    <= '0;
      silent_q     <= '0;
    end
    if (!rst_n) begin
      running_q    <= 1'b0;
      token_q      <= '0;
      cycle_q      <= '0;
      run_cycles_q <= '0;
    end
  end

  // ------------------------------------------------------------------------------------------- frames and events
  logic            word_valid, word_stream, word_ready, writing;
  logic [31:0]     word_address;
  logic [WORD-1:0] word_data;
  logic            read_frame_valid, read_frame_ready;
  logic [31:0]     read_frame_tag, read_frame_address, read_frame_words;
  logic [31:0]     frames;
  logic            room, parser_busy, parser_error;
  logic [7:0]      parser_code;
  logic [31:0]     parser_detail;
  frame_parser #(.COLUMNS(COLUMNS), .SCRATCHPAD_BYTES(SCRATCHPAD_BYTES)) u_frame_parser (
    .clk_i, .rst_ni(rst_n), .halt_i(halt), .started_i(started), .running_i(running_q), .room_i(room),
    .stream_valid_i(stream_in_valid_i), .stream_data_i(stream_in_data_i), .stream_ready_o(stream_in_ready_o),
    .word_valid_o(word_valid), .word_stream_o(word_stream), .word_address_o(word_address), .word_data_o(word_data),
    .word_ready_i(word_ready), .writing_i(writing),
    .read_valid_o(read_frame_valid), .read_tag_o(read_frame_tag), .read_address_o(read_frame_address),
    .read_words_o(read_frame_words), .read_ready_i(read_frame_ready),
    .launch_o(launch), .descriptor_o(descriptor), .frames_o(frames), .busy_o(parser_busy),
    .error_o(parser_error), .error_code_o(parser_code), .error_detail_o(parser_detail)
  );

  logic            header_valid, header_ready, out_valid, out_ready, writer_busy;
  logic [7:0]      header_kind;
  logic [31:0]     header_tag, header_address, header_length;
  logic [WORD-1:0] out_data;
  frame_writer #(.COLUMNS(COLUMNS)) u_frame_writer (
    .clk_i, .rst_ni(rst_n), .halt_i(halt),
    .header_valid_i(header_valid), .header_kind_i(header_kind), .header_tag_i(header_tag),
    .header_address_i(header_address), .header_length_i(header_length), .header_ready_o(header_ready),
    .word_valid_i(out_valid), .word_data_i(out_data), .word_ready_o(out_ready),
    .stream_valid_o(stream_out_valid_o), .stream_data_o(stream_out_data_o), .stream_ready_i(stream_out_ready_i),
    .busy_o(writer_busy)
  );

  logic        fault;
  logic [7:0]  fault_code, fault_unit;
  logic [31:0] fault_command, fault_detail;
  logic        told         [UNITS]; // retired in the cycle before, and the host wants to know
  logic [31:0] told_index   [UNITS];
  logic [63:0] told_start   [UNITS];
  logic [63:0] told_cycle;
  logic [32*UNITS*COUNTER_KINDS-1:0] told_counters;
  for (genvar u = 0; u < UNITS; u++) begin : g_told
    always_ff @(posedge clk_i) begin
      told[u] <= descriptor[1][32] && running_q && retire_o[u] && rst_n;
      if (retire_o[u]) begin
        told_index[u] <= index[u];
        told_start[u] <= start[u];
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (retire_o != '0) told_cycle <= run_cycles_q;
  end
  event_queue u_event_queue (
    .clk_i, .rst_ni(rst_n), .token_i(run_token_o), .cycle_i(told_cycle), .start_i(told_start),
    .counters_i(told_counters), .retire_i(told), .index_i(told_index),
    .complete_i(complete), .complete_cycle_i(run_cycles_q + 64'd1), .complete_commands_i(retired_q),
    .fault_i(fault), .fault_error_i(fault_code), .fault_unit_i(fault_unit), .fault_command_i(fault_command),
    .fault_detail_i(fault_detail), .fault_cycle_i(running_q ? run_cycles_q : cycle_q),
    .fault_token_i(running_q ? run_token_o : '0),
    .room_o(room), .event_valid_o, .event_o, .event_ready_i
  );

  // ------------------------------------------------------------------------------------------ commands and units
  logic [7:0]      opcode, entry;
  logic            fetch_read_valid, fetch_read_grant, fetch_error;
  logic [31:0]     fetch_read_address;
  logic [WORD-1:0] fetch_read_data;
  logic            push_valid [UNITS];
  logic            push_ready [UNITS];
  logic [1023:0]   push_command;
  logic [255:0]    push_windows;
  logic [31:0]     push_index, fetch_reading, fetch_error_command, fetch_error_detail;
  logic [7:0]      fetch_error_code;
  logic            hold, check_valid, passed;
  logic [31:0]     check_index;
  logic [15:0]     check_operator;
  command_fetch #(
    .CORES(CORES), .ROWS(ROWS), .COLUMNS(COLUMNS), .ACCUMULATORS(ACCUMULATORS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS)
  ) u_command_fetch (
    .clk_i, .rst_ni(rst_n), .halt_i(halt), .launch_i(launch), .descriptor_i(descriptor),
    .opcode_o(opcode), .entry_i(entry),
    .hold_i(hold), .check_valid_o(check_valid), .check_index_o(check_index), .check_operator_o(check_operator),
    .passed_o(passed),
    .read_valid_o(fetch_read_valid), .read_address_o(fetch_read_address), .read_grant_i(fetch_read_grant),
    .read_data_i(fetch_read_data),
    .push_valid_o(push_valid), .push_ready_i(push_ready), .push_command_o(push_command),
    .push_windows_o(push_windows), .push_index_o(push_index),
    .reading_o(fetch_reading), .error_o(fetch_error), .error_code_o(fetch_error_code),
    .error_command_o(fetch_error_command), .error_detail_o(fetch_error_detail)
  );

  logic [23:0]   retired       [UNITS];
  logic          waiting       [UNITS];
  logic [7:0]    queued        [UNITS];
  logic [7:0]    inside_unit   [UNITS];
  logic          command_valid [UNITS];
  logic          command_ready [UNITS];
  logic [1023:0] command       [UNITS];
  logic [31:0]   low           [UNITS][4];
  logic [31:0]   high          [UNITS][4];
  logic          unit_retire   [UNITS];
  logic          busy          [UNITS];
  logic          stalled       [UNITS];
  logic          on_link       [UNITS];
  logic          unit_error    [UNITS];
  logic [7:0]    unit_code     [UNITS];
  logic [31:0]   unit_detail   [UNITS];
  for (genvar u = 0; u < UNITS; u++) begin : g_queue
    unit_queue u_unit_queue (
      .clk_i, .rst_ni(rst_n), .halt_i(halt), .start_i(launch), .room_i(room),
      .push_valid_i(push_valid[u]), .push_command_i(push_command), .push_windows_i(push_windows),
      .push_index_i(push_index), .push_ready_o(push_ready[u]), .retired_i(retired), .cycle_i(run_cycles_q),
      .command_valid_o(command_valid[u]), .command_o(command[u]), .window_low_o(low[u]), .window_high_o(high[u]),
      .command_ready_i(command_ready[u]), .retire_i(unit_retire[u]),
      .retire_o(retire[u]), .index_o(index[u]), .start_o(start[u]), .retired_o(retired[u]), .waiting_o(waiting[u]),
      .queued_o(queued[u]), .inside_o(inside_unit[u])
    );
  end
  for (genvar u = 2; u < UNITS; u++) begin : g_no_link
    assign on_link[u] = 1'b0;
  end

  logic            load_write_valid, load_write_grant;
  logic [31:0]     load_write_address;
  logic [WORD-1:0] load_write_data;
  load_unit #(.COLUMNS(COLUMNS)) u_load_unit (
    .clk_i, .rst_ni(rst_n), .halt_i(halt),
    .command_valid_i(command_valid[0]), .command_i(command[0]), .window_low_i(low[0]), .window_high_i(high[0]),
    .command_ready_o(command_ready[0]), .retire_o(unit_retire[0]), .busy_o(busy[0]), .stalled_o(stalled[0]),
    .link_o(on_link[0]), .error_o(unit_error[0]), .error_code_o(unit_code[0]), .error_detail_o(unit_detail[0]),
    .word_valid_i(word_valid), .word_stream_i(word_stream), .word_address_i(word_address), .word_data_i(word_data),
    .word_ready_o(word_ready), .writing_o(writing),
    .write_valid_o(load_write_valid), .write_address_o(load_write_address), .write_data_o(load_write_data),
    .write_grant_i(load_write_grant)
  );

  logic            store_read_valid, store_read_grant;
  logic [31:0]     store_read_address;
  logic [WORD-1:0] store_read_data;
  store_unit #(.COLUMNS(COLUMNS)) u_store_unit (
    .clk_i, .rst_ni(rst_n), .halt_i(halt), .token_i(run_token_o),
    .command_valid_i(command_valid[1]), .command_i(command[1]), .window_low_i(low[1]), .window_high_i(high[1]),
    .command_ready_o(command_ready[1]), .retire_o(unit_retire[1]), .busy_o(busy[1]), .stalled_o(stalled[1]),
    .link_o(on_link[1]), .error_o(unit_error[1]), .error_code_o(unit_code[1]), .error_detail_o(unit_detail[1]),
    .read_frame_valid_i(read_frame_valid), .read_frame_tag_i(read_frame_tag),
    .read_frame_address_i(read_frame_address), .read_frame_words_i(read_frame_words),
    .read_frame_ready_o(read_frame_ready),
    .header_valid_o(header_valid), .header_kind_o(header_kind), .header_tag_o(header_tag),
    .header_address_o(header_address), .header_length_o(header_length), .header_ready_i(header_ready),
    .word_valid_o(out_valid), .word_data_o(out_data), .word_ready_i(out_ready),
    .read_valid_o(store_read_valid), .read_address_o(store_read_address), .read_grant_i(store_read_grant),
    .read_data_i(store_read_data)
  );

  logic            array_read_valid   [ARRAY_PORTS];
  logic [31:0]     array_read_address [ARRAY_PORTS];
  logic            array_read_grant   [ARRAY_PORTS];
  logic [WORD-1:0] array_read_data    [ARRAY_PORTS];
  logic            array_write_valid, array_write_grant;
  logic [31:0]     array_write_address;
  logic [WORD-1:0] array_write_data;
  array_unit #(
    .ROWS(ROWS), .COLUMNS(COLUMNS), .ACCUMULATORS(ACCUMULATORS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS)
  ) u_array_unit (
    .clk_i, .rst_ni(rst_n), .halt_i(halt),
    .command_valid_i(command_valid[2]), .command_i(command[2]), .window_low_i(low[2]), .window_high_i(high[2]),
    .command_ready_o(command_ready[2]), .retire_o(unit_retire[2]), .busy_o(busy[2]), .stalled_o(stalled[2]),
    .error_o(unit_error[2]), .error_code_o(unit_code[2]), .error_detail_o(unit_detail[2]),
    .read_valid_o(array_read_valid), .read_address_o(array_read_address), .read_grant_i(array_read_grant),
    .read_data_i(array_read_data), .write_valid_o(array_write_valid), .write_address_o(array_write_address),
    .write_data_o(array_write_data), .write_grant_i(array_write_grant)
  );

  logic            depthwise_read_valid   [DEPTHWISE_PORTS];
  logic [31:0]     depthwise_read_address [DEPTHWISE_PORTS];
  logic            depthwise_read_grant   [DEPTHWISE_PORTS];
  logic [WORD-1:0] depthwise_read_data    [DEPTHWISE_PORTS];
  logic            depthwise_write_valid, depthwise_write_grant;
  logic [31:0]     depthwise_write_address;
  logic [WORD-1:0] depthwise_write_data;
  depthwise_unit #(.COLUMNS(COLUMNS), .TAPS(TAPS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS)) u_depthwise_unit (
    .clk_i, .rst_ni(rst_n), .halt_i(halt),
    .command_valid_i(command_valid[3]), .command_i(command[3]), .window_low_i(low[3]), .window_high_i(high[3]),
    .command_ready_o(command_ready[3]), .retire_o(unit_retire[3]), .busy_o(busy[3]), .stalled_o(stalled[3]),
    .error_o(unit_error[3]), .error_code_o(unit_code[3]), .error_detail_o(unit_detail[3]),
    .read_valid_o(depthwise_read_valid), .read_address_o(depthwise_read_address),
    .read_grant_i(depthwise_read_grant), .read_data_i(depthwise_read_data),
    .write_valid_o(depthwise_write_valid), .write_address_o(depthwise_write_address),
    .write_data_o(depthwise_write_data), .write_grant_i(depthwise_write_grant)
  );

  logic            elementwise_read_valid   [ELEMENTWISE_PORTS];
  logic [31:0]     elementwise_read_address [ELEMENTWISE_PORTS];
  logic            elementwise_read_grant   [ELEMENTWISE_PORTS];
  logic [WORD-1:0] elementwise_read_data    [ELEMENTWISE_PORTS];
  logic            elementwise_write_valid, elementwise_write_grant;
  logic [31:0]     elementwise_write_address;
  logic [WORD-1:0] elementwise_write_data;
  elementwise_unit #(.COLUMNS(COLUMNS)) u_elementwise_unit (
    .clk_i, .rst_ni(rst_n), .halt_i(halt),
    .command_valid_i(command_valid[4]), .command_i(command[4]), .window_low_i(low[4]), .window_high_i(high[4]),
    .command_ready_o(command_ready[4]), .retire_o(unit_retire[4]), .busy_o(busy[4]), .stalled_o(stalled[4]),
    .error_o(unit_error[4]), .error_code_o(unit_code[4]), .error_detail_o(unit_detail[4]),
    .read_valid_o(elementwise_read_valid), .read_address_o(elementwise_read_address),
    .read_grant_i(elementwise_read_grant), .read_data_i(elementwise_read_data),
    .write_valid_o(elementwise_write_valid), .write_address_o(elementwise_write_address),
    .write_data_o(elementwise_write_data), .write_grant_i(elementwise_write_grant)
  );

  // ---------------------------------------------------------------------------------------------------- memory
  logic        flip_valid, parity_error;
  logic [31:0] flip_address, parity_address;
  logic [2:0]  parity_client;
  logic        debug_read_valid, debug_read_grant, debug_read_parity;
  logic [31:0] debug_read_address;
  logic [WORD-1:0] debug_read_data;
  scratchpad #(
    .COLUMNS(COLUMNS), .BANKS(BANKS), .SCRATCHPAD_BYTES(SCRATCHPAD_BYTES), .ARRAY_PORTS(ARRAY_PORTS),
    .DEPTHWISE_PORTS(DEPTHWISE_PORTS), .ELEMENTWISE_PORTS(ELEMENTWISE_PORTS)
  ) u_scratchpad (
    .clk_i, .rst_ni(rst_n), .halt_i(halt),
    .array_write_valid_i(array_write_valid), .array_write_address_i(array_write_address),
    .array_write_data_i(array_write_data), .array_write_grant_o(array_write_grant),
    .depthwise_write_valid_i(depthwise_write_valid), .depthwise_write_address_i(depthwise_write_address),
    .depthwise_write_data_i(depthwise_write_data), .depthwise_write_grant_o(depthwise_write_grant),
    .elementwise_write_valid_i(elementwise_write_valid), .elementwise_write_address_i(elementwise_write_address),
    .elementwise_write_data_i(elementwise_write_data), .elementwise_write_grant_o(elementwise_write_grant),
    .load_write_valid_i(load_write_valid), .load_write_address_i(load_write_address),
    .load_write_data_i(load_write_data), .load_write_grant_o(load_write_grant),
    .array_read_valid_i(array_read_valid), .array_read_address_i(array_read_address),
    .array_read_grant_o(array_read_grant), .array_read_data_o(array_read_data),
    .depthwise_read_valid_i(depthwise_read_valid), .depthwise_read_address_i(depthwise_read_address),
    .depthwise_read_grant_o(depthwise_read_grant), .depthwise_read_data_o(depthwise_read_data),
    .elementwise_read_valid_i(elementwise_read_valid), .elementwise_read_address_i(elementwise_read_address),
    .elementwise_read_grant_o(elementwise_read_grant), .elementwise_read_data_o(elementwise_read_data),
    .store_read_valid_i(store_read_valid), .store_read_address_i(store_read_address),
    .store_read_grant_o(store_read_grant), .store_read_data_o(store_read_data),
    .fetch_read_valid_i(fetch_read_valid), .fetch_read_address_i(fetch_read_address),
    .fetch_read_grant_o(fetch_read_grant), .fetch_read_data_o(fetch_read_data),
    .debug_read_valid_i(debug_read_valid), .debug_read_address_i(debug_read_address),
    .debug_read_grant_o(debug_read_grant), .debug_read_data_o(debug_read_data),
    .debug_read_parity_o(debug_read_parity), .flip_valid_i(flip_valid), .flip_address_i(flip_address),
    .parity_error_o(parity_error), .parity_client_o(parity_client), .parity_address_o(parity_address)
  );

  // ------------------------------------------------------------------------------------- what each unit does, errors
  logic [2:0] kind [UNITS];
  always_comb begin
    for (int unsigned u = 0; u < UNITS; u++) begin
      if (busy[u] || command_valid[u]) begin
        kind[u] = on_link[u] ? COUNTER_WAIT_LINK : (stalled[u] ? COUNTER_WAIT_MEMORY : COUNTER_BUSY);
      end else begin
        kind[u] = waiting[u] ? COUNTER_WAIT_DEPENDENCY : COUNTER_IDLE;
      end
    end
  end

  logic        error;
  logic [7:0]  error_code, error_unit;
  logic [31:0] error_command, error_detail;
  always_comb begin
    error = parity_error || fetch_error || parser_error || watchdog;
    for (int unsigned u = 0; u < UNITS; u++) error = error || unit_error[u];
    error_code    = ERROR_WATCHDOG;
    error_unit    = UNIT_NONE;
    error_command = retired_q;
    error_detail  = watchdog_limit;
    if (error) begin
      if (parser_error) begin
        error_code    = parser_code;
        error_command = '0;
        error_detail  = parser_detail;
      end
      if (fetch_error) begin
        error_code    = fetch_error_code;
        error_command = fetch_error_command;
        error_detail  = fetch_error_detail;
      end
      for (int unsigned u = 0; u < UNITS; u++) begin
        if (unit_error[u]) begin
          error_code    = unit_code[u];
          error_unit    = 8'(u);
          error_command = index[u];
          error_detail  = unit_detail[u];
        end
      end
      if (parity_error) begin
        error_code    = ERROR_PARITY;
        error_unit    = UNIT_NONE;
        error_command = '0;
        error_detail  = parity_address;
        case (parity_client)
          3'd0:    error_unit = 8'(UNIT_ARRAY);
          3'd1:    error_unit = 8'(UNIT_DEPTHWISE);
          3'd2:    error_unit = 8'(UNIT_ELEMENTWISE);
          3'd4:    error_unit = busy[1] ? 8'(UNIT_STORE) : UNIT_NONE;
          default: error_command = fetch_reading;
        endcase
        if (error_unit != UNIT_NONE) error_command = index[error_unit[2:0]];
      end
    end
  end

  register_file #(
    .CORES(CORES), .ROWS(ROWS), .COLUMNS(COLUMNS), .TAPS(TAPS), .SCRATCHPAD_BYTES(SCRATCHPAD_BYTES), .BANKS(BANKS),
    .ACCUMULATORS(ACCUMULATORS), .WEIGHT_PORT_ROWS(WEIGHT_PORT_ROWS),
    .LINK_MILLIBYTES_PER_CYCLE(LINK_MILLIBYTES_PER_CYCLE), .CLOCK_HZ(CLOCK_HZ), .TARGET_ID(TARGET_ID)
  ) u_register_file (
    .clk_i, .rst_ni, .register_write_i, .register_read_i, .register_address_i, .register_data_i,
    .register_data_o(file_data), .still_i(still), .started_o(started), .soft_reset_o(soft_reset), .interrupt_o, .opcode_i(opcode), .entry_o(entry),
    .launch_i(launch), .running_i(running_q), .token_i(run_token_o), .cycle_i(cycle_q), .run_cycles_i(run_cycles_q),
    .frames_i(frames), .kind_i(kind), .retire_i(retire), .retired_count_o(told_counters), .error_i(error), .error_code_i(error_code), .error_unit_i(error_unit),
    .error_command_i(error_command), .error_detail_i(error_detail), .halt_o(halt), .fault_o(fault),
    .fault_code_o(fault_code), .fault_unit_o(fault_unit), .fault_command_o(fault_command),
    .fault_detail_o(fault_detail), .flip_valid_o(flip_valid), .flip_address_o(flip_address)
  );

  logic [63:0] file_data, debug_data;
  logic        debug_selected;
  assign register_data_o = debug_selected ? debug_data : file_data;
  debug_module #(.COLUMNS(COLUMNS)) u_debug_module (
    .clk_i, .rst_ni(rst_n), .register_write_i, .register_read_i, .register_address_i,
    .register_data_i(register_data_i[49:0]), .register_data_o(debug_data), .selected_o(debug_selected), .launch_i(launch),
    .check_valid_i(check_valid), .check_index_i(check_index), .check_operator_i(check_operator), .passed_i(passed),
    .hold_o(hold), .retired_i(retired_q), .still_o(still),
    .read_valid_o(debug_read_valid), .read_address_o(debug_read_address), .read_grant_i(debug_read_grant),
    .read_data_i(debug_read_data), .read_parity_i(debug_read_parity),
    .unit_retired_i(retired), .unit_queued_i(queued), .unit_inside_i(inside_unit), .unit_waiting_i(waiting)
  );

  // After an error only the reset changes anything, once the fault has been fetched.
  assign idle_o = !event_valid_o && !fault && !debug_read_valid &&
                  (halt || !(error || (running_q && !still) || launch || parser_busy || writing || writer_busy || !read_frame_ready));
endmodule
